// The Vulkan instance, shared by all devices that are open at the same time, and the validation layer's messages.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "runtime/vk.h"

namespace vkmoe {

class Instance {
 public:
  // The instance that lives, or a new one. Fails with VKMOE_ERROR_NO_DEVICE where there is no loader, no driver, or
  // only Vulkan 1.0.
  static std::shared_ptr<Instance> get();
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  std::vector<VkPhysicalDevice> physical_devices() const;
  bool validation() const { return messenger_ != VK_NULL_HANDLE; }
  bool names() const { return names_; }  // objects' names are of use: to the layer, or to another (VKMOE_VALIDATION=names)
  VkInstance handle() const { return handle_; }

 private:
  Instance() = default;
  void create();
  VkInstance handle_ = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
  bool names_ = false;
};

// Whether the validation layer knows this version of Vulkan, or is off. It takes what came later for errors.
bool validation_knows(uint32_t version);

// All messages of this process, so that those about a device that was closed are not lost.
std::vector<std::string> all_validation_messages();

}  // namespace vkmoe
