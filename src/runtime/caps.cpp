#include "runtime/caps.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "runtime/cooperative_matrix.h"
#include "runtime/instance.h"

namespace vkmoe {
namespace {

std::string type_name(VkPhysicalDeviceType type) {
  switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
      return "virtual";
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
      return "cpu";
    default:
      return "other";
  }
}

template <class T, class Next>
void chain(T& item, VkStructureType type, Next& head) {
  item.sType = type;
  item.pNext = head.pNext;
  head.pNext = &item;
}

// Extensions of which kernels with cooperative matrices need all.
bool may_have_matrices(const PhysicalDevice& device) {
  return device.has(VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME) && validation_knows(VK_MAKE_API_VERSION(0, 1, 3, 255)) &&
         device.has(VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME, VK_API_VERSION_1_2) &&
         device.has(VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME, VK_API_VERSION_1_3);
}

void read_features(PhysicalDevice& device) {
  VkPhysicalDeviceFeatures2 features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2};
  VkPhysicalDevice16BitStorageFeatures storage16 = {};
  VkPhysicalDevice8BitStorageFeatures storage8 = {};
  VkPhysicalDeviceShaderFloat16Int8Features float16_int8 = {};
  VkPhysicalDeviceShaderIntegerDotProductFeatures integer_dot = {};
  VkPhysicalDeviceBufferDeviceAddressFeatures address = {};
  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables = {};
  VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices = {};
  VkPhysicalDeviceVulkanMemoryModelFeatures memory_model = {};
  VkPhysicalDeviceSubgroupSizeControlFeatures subgroup_sizes = {};
  chain(storage16, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES, features);
  if (device.has(VK_KHR_8BIT_STORAGE_EXTENSION_NAME, VK_API_VERSION_1_2)) {
    chain(storage8, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES, features);
  }
  if (device.has(VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME, VK_API_VERSION_1_2)) {
    chain(float16_int8, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES, features);
  }
  if (device.has(VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME, VK_API_VERSION_1_3)) {
    chain(integer_dot, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES, features);
  }
  if (device.has(VK_KHR_BUFFER_DEVICE_ADDRESS_EXTENSION_NAME, VK_API_VERSION_1_2)) {
    chain(address, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES, features);
  }
  if (device.has(VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME)) {
    chain(executables, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR, features);
  }
  if (may_have_matrices(device)) {
    chain(matrices, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR, features);
    chain(memory_model, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES, features);
    chain(subgroup_sizes, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES, features);
  }
  vkGetPhysicalDeviceFeatures2(device.handle, &features);
  Caps& caps = device.caps;
  caps.storage16 = storage16.storageBuffer16BitAccess;
  caps.storage8 = storage8.storageBuffer8BitAccess;
  caps.fp16 = float16_int8.shaderFloat16;
  caps.int8 = float16_int8.shaderInt8;
  caps.integer_dot = integer_dot.shaderIntegerDotProduct;
  caps.buffer_device_address = address.bufferDeviceAddress;
  caps.pipeline_statistics = executables.pipelineExecutableInfo;
  if (matrices.cooperativeMatrix && caps.fp16 && memory_model.vulkanMemoryModelDeviceScope && subgroup_sizes.subgroupSizeControl &&
      subgroup_sizes.computeFullSubgroups) {
    caps.cooperative_matrix = find_matrix_shape(device.handle);
  }
}

// The least subgroup: what Intel's and AMD's matrix units work on. Workgroups have 64 or 128 invocations, which must be whole
// subgroups, of which each owns at least one of the matrices that the workgroup's (64, 32) results are.
void choose_matrix_lanes(Caps& caps, const VkPhysicalDeviceSubgroupSizeControlProperties& sizes) {
  MatrixShape& matrices = caps.cooperative_matrix;
  if (!matrices.m) return;
  matrices.lanes = sizes.minSubgroupSize;
  uint32_t most = 128 / matrices.lanes;
  bool allowed = sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT && sizes.maxComputeWorkgroupSubgroups >= most;
  if (!allowed || caps.subgroup_size > 64 || 64 / matrices.m * (32 / matrices.n) < most) matrices = {};
}

void read_properties(PhysicalDevice& device) {
  VkPhysicalDeviceProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
  VkPhysicalDeviceMaintenance3Properties maintenance3 = {};
  VkPhysicalDeviceSubgroupProperties subgroup = {};
  VkPhysicalDeviceDriverProperties driver = {};
  chain(maintenance3, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, properties);
  chain(subgroup, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES, properties);
  VkPhysicalDeviceSubgroupSizeControlProperties sizes = {};
  if (device.has(VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME, VK_API_VERSION_1_3)) {
    chain(sizes, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES, properties);
  }
  if (device.has(VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME, VK_API_VERSION_1_2)) {
    chain(driver, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES, properties);
  }
  VkPhysicalDeviceShaderIntegerDotProductProperties integer_dot = {};
  if (device.has(VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME, VK_API_VERSION_1_3)) {
    chain(integer_dot, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES, properties);
  }
  vkGetPhysicalDeviceProperties2(device.handle, &properties);
  const VkPhysicalDeviceLimits& limits = properties.properties.limits;
  Caps& caps = device.caps;
  if (driver.driverName[0]) caps.driver = cat(driver.driverName, *driver.driverInfo ? " " : "", driver.driverInfo);
  caps.max_binding_bytes = limits.maxStorageBufferRange;
  caps.max_allocation_bytes = maintenance3.maxMemoryAllocationSize;
  caps.max_shared_bytes = limits.maxComputeSharedMemorySize;
  caps.max_invocations = limits.maxComputeWorkGroupInvocations;
  std::copy_n(limits.maxComputeWorkGroupCount, 3, caps.max_groups);
  caps.max_push_bytes = limits.maxPushConstantsSize;
  caps.max_storage_buffers =
      std::min({limits.maxPerStageDescriptorStorageBuffers, limits.maxDescriptorSetStorageBuffers,
                limits.maxPerStageResources});
  caps.storage_alignment = std::max<uint32_t>(4, uint32_t(limits.minStorageBufferOffsetAlignment));
  caps.max_texels = limits.maxTexelBufferElements;
  caps.texel_alignment = std::max<uint32_t>(16, uint32_t(limits.minTexelBufferOffsetAlignment));
  caps.integer_dot_accelerated = caps.integer_dot && integer_dot.integerDotProduct4x8BitPackedSignedAccelerated;
  caps.timestamp_ns = limits.timestampPeriod;
  caps.subgroup_size = subgroup.subgroupSize;
  caps.min_subgroup_size = sizes.minSubgroupSize ? sizes.minSubgroupSize : caps.subgroup_size;
  choose_matrix_lanes(caps, sizes);
  if (subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) {
    caps.subgroup_arithmetic = subgroup.supportedOperations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
    caps.subgroup_ballot = subgroup.supportedOperations & VK_SUBGROUP_FEATURE_BALLOT_BIT;
    caps.subgroup_shuffle = subgroup.supportedOperations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
  }
}

void read_memory(PhysicalDevice& device) {
  vkGetPhysicalDeviceMemoryProperties(device.handle, &device.memory);
  Caps& caps = device.caps;
  for (uint32_t h = 0; h < device.memory.memoryHeapCount; h++) {
    const VkMemoryHeap& heap = device.memory.memoryHeaps[h];
    if (heap.flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) caps.memory_bytes = std::max(caps.memory_bytes, heap.size);
  }
  constexpr VkMemoryPropertyFlags wanted = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                           VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  // The largest heap it must be: many discrete devices show the host a small window of their memory only.
  for (uint32_t t = 0; t < device.memory.memoryTypeCount; t++) {
    const VkMemoryType& type = device.memory.memoryTypes[t];
    caps.unified_memory |= (type.propertyFlags & wanted) == wanted &&
                           device.memory.memoryHeaps[type.heapIndex].size == caps.memory_bytes;
  }
  caps.unified_memory |= caps.type == "integrated" || caps.type == "cpu";
}

// Prefers a family without graphics: its work does not wait for the desktop's.
bool find_queue_family(PhysicalDevice& device) {
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(device.handle, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vkGetPhysicalDeviceQueueFamilyProperties(device.handle, &count, families.data());
  bool found = false, found_graphics = false;
  for (uint32_t f = 0; f < count; f++) {
    if (!(families[f].queueFlags & VK_QUEUE_COMPUTE_BIT) || families[f].queueCount == 0) continue;
    bool graphics = families[f].queueFlags & VK_QUEUE_GRAPHICS_BIT;
    if (found && (graphics || !found_graphics)) continue;
    found = true;
    found_graphics = graphics;
    device.queue_family = f;
    device.timestamp_bits = families[f].timestampValidBits;
  }
  device.caps.timestamps = found && device.timestamp_bits > 0 && device.caps.timestamp_ns > 0;
  return found;
}

}  // namespace

PhysicalDevice inspect(VkPhysicalDevice handle) {
  PhysicalDevice device;
  device.handle = handle;
  VkPhysicalDeviceProperties properties;
  vkGetPhysicalDeviceProperties(handle, &properties);
  Caps& caps = device.caps;
  caps.name = properties.deviceName;
  caps.type = type_name(properties.deviceType);
  caps.vendor_id = properties.vendorID;
  caps.device_id = properties.deviceID;
  caps.driver_version = properties.driverVersion;
  caps.api_version = properties.apiVersion;
  if (properties.apiVersion < kLeastApi) {
    device.unusable_reason = cat("offers Vulkan ", VK_API_VERSION_MAJOR(properties.apiVersion), ".",
                                 VK_API_VERSION_MINOR(properties.apiVersion), ", vkmoe needs 1.1");
    return device;
  }
  auto extensions = enumerate<VkExtensionProperties>(
      "vkEnumerateDeviceExtensionProperties", [&](uint32_t* count, VkExtensionProperties* items) {
        return vkEnumerateDeviceExtensionProperties(handle, nullptr, count, items);
      });
  for (const auto& extension : extensions) device.extensions.insert(extension.extensionName);
  read_features(device);
  read_properties(device);
  read_memory(device);
  if (!find_queue_family(device)) device.unusable_reason = "has no compute queue";
  if (const char* value = std::getenv("VKMOE_CAPS"); value && *value) {
    if (std::strcmp(value, "least")) {
      fail(VKMOE_ERROR_INVALID_ARGUMENT, "VKMOE_CAPS: expected 'least', found '", value, "'");
    }
    clamp_to_least(caps);
  }
  return device;
}

void clamp_to_least(Caps& caps) {
  caps.max_binding_bytes = std::min<uint64_t>(caps.max_binding_bytes, 128 << 20);
  caps.max_allocation_bytes = std::min<uint64_t>(caps.max_allocation_bytes, 1 << 30);
  caps.max_shared_bytes = std::min<uint32_t>(caps.max_shared_bytes, 16 << 10);
  caps.max_invocations = std::min<uint32_t>(caps.max_invocations, 128);
  for (uint32_t& groups : caps.max_groups) groups = std::min<uint32_t>(groups, 65535);
  caps.max_push_bytes = std::min<uint32_t>(caps.max_push_bytes, 128);
  caps.max_storage_buffers = std::min<uint32_t>(caps.max_storage_buffers, 8);
  caps.storage_alignment = std::max<uint32_t>(caps.storage_alignment, 256);
  caps.max_texels = std::min<uint64_t>(caps.max_texels, 65536);
  caps.texel_alignment = std::max<uint32_t>(caps.texel_alignment, 256);
  caps.unified_memory = false;
  caps.subgroup_arithmetic = caps.subgroup_ballot = caps.subgroup_shuffle = false;
  caps.fp16 = caps.int8 = caps.storage16 = caps.storage8 = caps.integer_dot = caps.integer_dot_accelerated = false;
  caps.cooperative_matrix = {};
  caps.buffer_device_address = caps.pipeline_statistics = false;
  caps.timestamps = false;
}

nlohmann::json to_json(const MatrixShape& s) {
  return s.m ? nlohmann::json(cat(s.m, "x", s.n, "x", s.k)) : nlohmann::json(false);
}

nlohmann::json to_json(const PhysicalDevice& device, size_t index) {
  const Caps& caps = device.caps;
  bool usable = device.unusable_reason.empty();
  nlohmann::json json = {{"index", index},
                         {"name", caps.name},
                         {"type", caps.type},
                         {"driver", caps.driver},
                         {"vendor_id", caps.vendor_id},
                         {"device_id", caps.device_id},
                         {"driver_version", caps.driver_version},
                         {"api_version", version_text(caps.api_version)},
                         {"usable", usable}};
  if (!usable) {
    json["reason"] = device.unusable_reason;
    return json;
  }
  json["memory_bytes"] = caps.memory_bytes;
  json["limits"] = {{"max_binding_bytes", caps.max_binding_bytes},
                    {"max_allocation_bytes", caps.max_allocation_bytes},
                    {"max_shared_bytes", caps.max_shared_bytes},
                    {"max_invocations", caps.max_invocations},
                    {"max_groups", caps.max_groups},
                    {"max_push_bytes", caps.max_push_bytes},
                    {"max_storage_buffers", caps.max_storage_buffers},
                    {"storage_alignment", caps.storage_alignment},
                    {"max_texels", caps.max_texels},
                    {"texel_alignment", caps.texel_alignment}};
  json["capabilities"] = {{"unified_memory", caps.unified_memory},
                          {"subgroup_size", caps.subgroup_size},
                          {"min_subgroup_size", caps.min_subgroup_size},
                          {"subgroup_arithmetic", caps.subgroup_arithmetic},
                          {"subgroup_ballot", caps.subgroup_ballot},
                          {"subgroup_shuffle", caps.subgroup_shuffle},
                          {"fp16", caps.fp16},
                          {"int8", caps.int8},
                          {"storage16", caps.storage16},
                          {"storage8", caps.storage8},
                          {"integer_dot", caps.integer_dot},
                          {"integer_dot_accelerated", caps.integer_dot_accelerated},
                          {"cooperative_matrix", to_json(caps.cooperative_matrix)},
                          {"buffer_device_address", caps.buffer_device_address},
                          {"pipeline_statistics", caps.pipeline_statistics},
                          {"timestamps", caps.timestamps}};
  return json;
}

}  // namespace vkmoe
