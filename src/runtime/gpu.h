// An open logical device with its memory and its queue. Buffers and recordings share it, so that they may outlive the
// Device they came from.
#pragma once
#include <memory>

#include "runtime/caps.h"
#include "runtime/instance.h"
#include "runtime/memory.h"
#include "runtime/queue.h"

namespace vkmoe {

struct Gpu {
  Gpu(std::shared_ptr<Instance> instance, const PhysicalDevice& physical);
  ~Gpu();
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  // For layers' messages; does nothing without them (Instance::names).
  void set_name(VkObjectType type, uint64_t handle, const std::string& name) const;

  std::shared_ptr<Instance> instance;
  PhysicalDevice physical;
  VkDevice device = VK_NULL_HANDLE;
  bool memory_budget = false, buffer_marker = false, checkpoints = false;
  DeviceCounters counters;
  std::unique_ptr<Memory> memory;
  std::unique_ptr<Queue> queue;

  const Caps& caps() const { return physical.caps; }
};

}  // namespace vkmoe
