#include "runtime/gpu.h"

#include <cstring>

#include "runtime/cooperative_matrix.h"

namespace vkmoe {
namespace {

// Extensions and features to enable: all that Caps offers to the choice of kernels, and nothing else. (No kernel uses
// buffer addresses or pipeline statistics yet.)
struct Enabled {
  std::vector<const char*> extensions;
  VkPhysicalDeviceFeatures2 features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
  VkPhysicalDevice16BitStorageFeatures storage16 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES};
  VkPhysicalDevice8BitStorageFeatures storage8 = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES};
  VkPhysicalDeviceShaderFloat16Int8Features float16_int8 = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES};
  VkPhysicalDeviceShaderIntegerDotProductFeatures integer_dot = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES};
  VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
  VkPhysicalDeviceVulkanMemoryModelFeatures memory_model = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES};
  VkPhysicalDeviceSubgroupSizeControlFeatures subgroup_sizes = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES};

  template <class T>
  void chain(T& item) {
    item.pNext = features.pNext;
    features.pNext = &item;
  }
  // What became core in `version` needs no extension there.
  void extension(const PhysicalDevice& physical, const char* name, uint32_t version) {
    if (physical.caps.api_version < version) extensions.push_back(name);
  }

  explicit Enabled(const PhysicalDevice& physical) {
    const Caps& caps = physical.caps;
    if (caps.storage16) {
      storage16.storageBuffer16BitAccess = VK_TRUE;
      chain(storage16);
    }
    if (caps.storage8) {
      storage8.storageBuffer8BitAccess = VK_TRUE;
      chain(storage8);
      extension(physical, VK_KHR_8BIT_STORAGE_EXTENSION_NAME, VK_API_VERSION_1_2);
    }
    if (caps.fp16 || caps.int8) {
      float16_int8.shaderFloat16 = caps.fp16;
      float16_int8.shaderInt8 = caps.int8;
      chain(float16_int8);
      extension(physical, VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME, VK_API_VERSION_1_2);
    }
    if (caps.integer_dot) {
      integer_dot.shaderIntegerDotProduct = VK_TRUE;
      chain(integer_dot);
      extension(physical, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME, VK_API_VERSION_1_3);
    }
    if (caps.cooperative_matrix.m) {
      matrices.cooperativeMatrix = VK_TRUE;
      // With the memory model barriers of the other kernels need a feature, too.
      memory_model.vulkanMemoryModel = memory_model.vulkanMemoryModelDeviceScope = VK_TRUE;
      subgroup_sizes.subgroupSizeControl = subgroup_sizes.computeFullSubgroups = VK_TRUE;
      chain(matrices);
      chain(memory_model);
      chain(subgroup_sizes);
      extensions.push_back(VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME);
      extension(physical, VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME, VK_API_VERSION_1_2);
      extension(physical, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME, VK_API_VERSION_1_3);
    }
    for (const char* name :
         {"VK_KHR_portability_subset", VK_EXT_MEMORY_BUDGET_EXTENSION_NAME, VK_AMD_BUFFER_MARKER_EXTENSION_NAME,
          VK_NV_DEVICE_DIAGNOSTIC_CHECKPOINTS_EXTENSION_NAME}) {
      if (physical.has(name)) extensions.push_back(name);
    }
  }
};

}  // namespace

Gpu::Gpu(std::shared_ptr<Instance> shared_instance, const PhysicalDevice& physical_device)
    : instance(std::move(shared_instance)), physical(physical_device) {
  Enabled enabled(physical);
  float priority = 1;
  VkDeviceQueueCreateInfo queue_info = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
  queue_info.queueFamilyIndex = physical.queue_family;
  queue_info.queueCount = 1;
  queue_info.pQueuePriorities = &priority;
  VkDeviceCreateInfo info = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, &enabled.features};
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue_info;
  info.enabledExtensionCount = uint32_t(enabled.extensions.size());
  info.ppEnabledExtensionNames = enabled.extensions.data();
  check(vkCreateDevice(physical.handle, &info, nullptr, &device), "vkCreateDevice");
  memory_budget = physical.has(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
  // Off under validation: its synchronization checks take the marks, which are never read while it runs, for hazards.
  buffer_marker = physical.has(VK_AMD_BUFFER_MARKER_EXTENSION_NAME) && !instance->validation();
  checkpoints = physical.has(VK_NV_DEVICE_DIAGNOSTIC_CHECKPOINTS_EXTENSION_NAME);
  try {
    memory = std::make_unique<Memory>(*this);
    queue = std::make_unique<Queue>(*this);
  } catch (...) {
    memory.reset();
    vkDestroyDevice(device, nullptr);
    throw;
  }
}

Gpu::~Gpu() {
  vkDeviceWaitIdle(device);
  queue.reset();
  memory.reset();
  vkDestroyDevice(device, nullptr);
}

void Gpu::set_name(VkObjectType type, uint64_t handle, const std::string& name) const {
  if (!instance->names()) return;
  VkDebugUtilsObjectNameInfoEXT info = {VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT};
  info.objectType = type;
  info.objectHandle = handle;
  info.pObjectName = name.c_str();
  vkSetDebugUtilsObjectNameEXT(device, &info);
}

}  // namespace vkmoe
