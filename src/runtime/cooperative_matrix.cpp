#include "runtime/cooperative_matrix.h"

namespace vkmoe {

MatrixShape find_matrix_shape(VkPhysicalDevice device) {
  MatrixShape best;
  auto list = reinterpret_cast<PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR>(
      vkGetInstanceProcAddr(volkGetLoadedInstance(), "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"));
  if (!list) return best;
  VkCooperativeMatrixPropertiesKHR prototype = {VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR};
  auto all = enumerate<VkCooperativeMatrixPropertiesKHR>(
      "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR",
      [&](uint32_t* count, VkCooperativeMatrixPropertiesKHR* items) { return list(device, count, items); }, prototype);
  auto fits = [](uint32_t size) { return size == 8 || size == 16 || size == 32; };
  for (const auto& p : all) {
    bool halves = p.AType == VK_COMPONENT_TYPE_FLOAT16_KHR && p.BType == VK_COMPONENT_TYPE_FLOAT16_KHR;
    bool floats = p.CType == VK_COMPONENT_TYPE_FLOAT32_KHR && p.ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR;
    if (p.scope != VK_SCOPE_SUBGROUP_KHR || !halves || !floats || p.saturatingAccumulation) continue;
    if (!fits(p.MSize) || !fits(p.NSize) || !fits(p.KSize)) continue;
    if (p.MSize * p.NSize * p.KSize > best.m * best.n * best.k) best = {p.MSize, p.NSize, p.KSize, 0};
  }
  return best;
}

}  // namespace vkmoe
