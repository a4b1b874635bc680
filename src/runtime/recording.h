// Work recorded once and submitted any number of times. Barriers follow from what each kernel's SPIR-V says it reads and
// writes: a dispatch that touches bytes that an earlier one wrote (or writes bytes that an earlier one read) waits for it,
// all others run side by side.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <vector>

#include "runtime/device.h"

namespace vkmoe {

struct RecordingImpl;

class Recording {
 public:
  // profile: a timestamp around every dispatch (adds barriers, so the whole runs slower); see times().
  Recording(Device& device, const std::string& name, bool profile = false);

  // Records nothing: what is recorded to it has its kernels compiled in the background (Device::kernel), and may name buffers
  // that are not there.
  struct KernelsOnly {};
  Recording(Device& device, KernelsOnly);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  // bindings[i] is bound at binding i of set 0. Checked against the kernel's reflection: number of bindings, push
  // constant size, ranges inside of their buffers, alignment, max_binding_bytes, group counts. A group count of 0 records
  // nothing.
  void dispatch(const Kernel& kernel, const std::vector<BufferView>& bindings, const void* push, uint32_t push_bytes,
                uint32_t groups_x, uint32_t groups_y = 1, uint32_t groups_z = 1);
  template <class Push>
    requires std::is_class_v<Push>  // a pointer means the function above
  void dispatch(const Kernel& kernel, const std::vector<BufferView>& bindings, const Push& push, uint32_t groups_x,
                uint32_t groups_y = 1, uint32_t groups_z = 1) {
    dispatch(kernel, bindings, &push, sizeof(Push), groups_x, groups_y, groups_z);
  }

  // Group counts are three u32 at `groups`.
  void dispatch_indirect(const Kernel& kernel, const std::vector<BufferView>& bindings, const void* push,
                         uint32_t push_bytes, const BufferView& groups);

  void copy(const BufferView& from, const BufferView& to);  // equal sizes, multiples of 4
  void fill(const BufferView& to, uint32_t word);

  // The work of the next dispatch, for times(): known now, or asked for when a submission is finished. Nothing without
  // profile.
  using CountWork = std::function<WorkCount()>;
  void note(CountWork work);
  void note(const WorkCount& work) {
    note([work] { return work; });
  }
  // With profile: where the host finds a copy of these bytes as they are at this point of the last submission, for what
  // counts work by data (positions, rows routed). Else null.
  const uint32_t* watch(const BufferView& words);

  // Ends the recording; nothing can be added after it. Makes writes visible to the host, too. Waits for the kernels' pipelines,
  // which were compiled side by side meanwhile, and throws where one cannot be compiled.
  void end();

  uint64_t dispatches() const;
  uint64_t barriers() const;
  std::vector<KernelTime> times() const;  // of the last submission, once it is finished; empty without profile

  RecordingImpl* impl() const { return impl_.get(); }

 private:
  std::unique_ptr<RecordingImpl> impl_;
};

}  // namespace vkmoe
