// Everything that vkmoe asks a physical device, once.
#pragma once
#include <set>
#include <string>

#include "runtime/device.h"
#include "runtime/vk.h"

namespace vkmoe {

struct PhysicalDevice {
  VkPhysicalDevice handle = VK_NULL_HANDLE;
  Caps caps;                    // only name, type, ids and versions where the device is not usable
  std::string unusable_reason;  // empty: usable
  uint32_t queue_family = 0, timestamp_bits = 0;
  std::set<std::string> extensions;
  VkPhysicalDeviceMemoryProperties memory = {};

  bool has(const char* extension) const { return extensions.count(extension) != 0; }
  // Whether what became core in `version` is there, as an extension or as core.
  bool has(const char* extension, uint32_t version) const { return caps.api_version >= version || has(extension); }
};

PhysicalDevice inspect(VkPhysicalDevice handle);

// Cuts caps down to the least device that vkmoe runs on (VKMOE_CAPS=least), to test what is chosen by capability.
void clamp_to_least(Caps& caps);

nlohmann::json to_json(const PhysicalDevice& device, size_t index);

}  // namespace vkmoe
