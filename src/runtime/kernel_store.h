// Pipelines by kernel and specialization. Asking for one has it compiled in the background, on all cores but the asker's,
// who lends a hand when it waits. Several threads may ask at once.
#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "runtime/gpu.h"
#include "runtime/kernel.h"
#include "runtime/pipeline_cache.h"

namespace vkmoe {

inline VkDescriptorType descriptor_type(const KernelBinary::Binding& binding) {
  return binding.texels ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
}

class KernelStore {
 public:
  explicit KernelStore(Gpu& gpu) : gpu_(gpu), cache_(gpu) {}
  ~KernelStore();

  // All of a kernel but its pipeline, for which wait() is there.
  const Kernel& get(const std::string& name, const SpecConstants& constants);
  const Kernel& get(const KernelBinary& binary, const SpecConstants& constants);

  // Until these, which get() gave, have their pipelines. Throws what went wrong with one of them; whoever gets that one again
  // has it compiled again.
  void wait(const std::vector<const Kernel*>& kernels);

  void count(DeviceCounters& counters) const;
  void stop();  // what no thread has begun with is never compiled
  void save_cache() { cache_.save(); }

 private:
  enum class State { fresh, queued, compiling, ready, failed };
  struct Entry : Kernel {
    State state = State::fresh;
    std::exception_ptr error;
  };
  struct Layout {
    VkDescriptorSetLayout set = VK_NULL_HANDLE;
    VkPipelineLayout pipeline = VK_NULL_HANDLE;
  };
  void describe(Kernel& kernel, const KernelBinary& binary, const SpecConstants& constants);
  void check_limits(const Kernel& kernel) const;
  Layout layout(const KernelBinary& binary);
  void enqueue(Entry& entry);
  void work();
  void compile(Entry& entry, std::unique_lock<std::mutex>& lock);
  VkPipeline create_pipeline(const Kernel& kernel);

  Gpu& gpu_;
  PipelineCache cache_;
  mutable std::mutex mutex_;  // of all below; never held while a pipeline is compiled
  std::condition_variable changed_;  // the queue, the state of an entry, or stopping_
  std::map<std::pair<const KernelBinary*, SpecConstants>, std::unique_ptr<Entry>> entries_;
  std::deque<Entry*> queue_;  // in the order of asking; some may be compiled already
  std::vector<std::thread> threads_;
  size_t idle_threads_ = 0;
  bool stopping_ = false;
  uint64_t pipelines_created_ = 0;
  using Types = std::vector<VkDescriptorType>;  // of the bindings
  std::map<Types, VkDescriptorSetLayout> set_layouts_;
  std::map<std::pair<Types, uint32_t>, VkPipelineLayout> pipeline_layouts_;  // by bindings and push bytes
};

}  // namespace vkmoe
