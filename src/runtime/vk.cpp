// The one copy of volk, and names of Vulkan's results.
#define VOLK_IMPLEMENTATION
#include "runtime/vk.h"

namespace vkmoe {

const char* result_name(VkResult result) {
  switch (result) {
#define CASE(name) \
  case name:       \
    return #name;
    CASE(VK_SUCCESS)
    CASE(VK_NOT_READY)
    CASE(VK_TIMEOUT)
    CASE(VK_INCOMPLETE)
    CASE(VK_ERROR_OUT_OF_HOST_MEMORY)
    CASE(VK_ERROR_OUT_OF_DEVICE_MEMORY)
    CASE(VK_ERROR_INITIALIZATION_FAILED)
    CASE(VK_ERROR_DEVICE_LOST)
    CASE(VK_ERROR_MEMORY_MAP_FAILED)
    CASE(VK_ERROR_LAYER_NOT_PRESENT)
    CASE(VK_ERROR_EXTENSION_NOT_PRESENT)
    CASE(VK_ERROR_FEATURE_NOT_PRESENT)
    CASE(VK_ERROR_INCOMPATIBLE_DRIVER)
    CASE(VK_ERROR_TOO_MANY_OBJECTS)
    CASE(VK_ERROR_FRAGMENTED_POOL)
    CASE(VK_ERROR_OUT_OF_POOL_MEMORY)
    CASE(VK_ERROR_INVALID_EXTERNAL_HANDLE)
    CASE(VK_ERROR_FRAGMENTATION)
    CASE(VK_ERROR_INVALID_SHADER_NV)
    CASE(VK_ERROR_UNKNOWN)
#undef CASE
    default:
      return "an unknown result";
  }
}

void fail_vulkan(VkResult result, const char* call) {
  vkmoe_status status = VKMOE_ERROR_VULKAN;
  if (result == VK_ERROR_DEVICE_LOST) status = VKMOE_ERROR_DEVICE_LOST;
  if (result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY) {
    status = VKMOE_ERROR_OUT_OF_MEMORY;
  }
  fail(status, call, " failed with ", result_name(result), " (", int(result), ")");
}

}  // namespace vkmoe
