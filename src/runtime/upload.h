// Copies between the host and buffers that it cannot reach: two staging buffers, so that one is filled while the
// device copies from the other; and one buffer to read back.
#pragma once
#include "runtime/gpu.h"
#include "runtime/hazards.h"

namespace vkmoe {

class Transfers {
 public:
  explicit Transfers(const std::shared_ptr<Gpu>& gpu) : gpu_(gpu) {}
  ~Transfers();

  void upload(const Buffer& to, uint64_t offset, uint64_t size, const Device::Fill& fill);
  void read_back(const Buffer& from, uint64_t offset, void* out, uint64_t size);

  // Copies that were recorded and not submitted yet: they go before the next submission. Tell its ticket when it
  // succeeded; else they are still pending.
  std::optional<Queue::Item> take_pending();
  void submitted(uint64_t ticket);

  void flush();      // submits what is pending
  void wait_idle();  // flush, wait, let go of the buffers that were copied to

 private:
  struct Slot {
    Buffer staging;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    bool open = false, ended = false;  // has copies to submit; and takes no more
    uint64_t used = 0, ticket = 0;
    HazardTracker hazards;
    std::vector<Buffer> targets;
  };
  VkCommandBuffer begin(VkCommandBuffer& commands);
  Slot& open_slot();

  std::shared_ptr<Gpu> gpu_;
  VkCommandPool pool_ = VK_NULL_HANDLE;
  Slot slots_[2];
  int current_ = 0;
  Buffer readback_;
  VkCommandBuffer readback_commands_ = VK_NULL_HANDLE;
};

}  // namespace vkmoe
