// What every file of this room that talks to Vulkan includes: volk's function pointers and checked results.
#pragma once
#include <volk.h>

#include <string>
#include <vector>

#include "base/error.h"

namespace vkmoe {

const char* result_name(VkResult result);

// Throws Error naming the call and its result. The call is the name of the Vulkan function.
[[noreturn]] void fail_vulkan(VkResult result, const char* call);
inline void check(VkResult result, const char* call) {
  if (result < 0) fail_vulkan(result, call);
}

// Vulkan's count-then-fill enumerations.
template <class T, class Enumerate>
std::vector<T> enumerate(const char* call, const Enumerate& fill, T prototype = {}) {
  uint32_t count = 0;
  std::vector<T> items;
  VkResult result;
  do {
    check(fill(&count, static_cast<T*>(nullptr)), call);
    items.assign(count, prototype);
    result = fill(&count, items.data());
  } while (result == VK_INCOMPLETE);
  check(result, call);
  items.resize(count);
  return items;
}

// What vkmoe is written for: the least version it runs on, and the latest whose features it knows.
constexpr uint32_t kLeastApi = VK_API_VERSION_1_1, kLatestApi = VK_API_VERSION_1_3;

inline std::string version_text(uint32_t version) {
  return cat(VK_API_VERSION_MAJOR(version), ".", VK_API_VERSION_MINOR(version), ".", VK_API_VERSION_PATCH(version));
}

}  // namespace vkmoe
