// The Vulkan layer VK_LAYER_VKMOE_compilers, for programs on pretended GPUs (as_gpu.sh starts them). It writes what the
// driver's compiler says about each compute pipeline (VK_KHR_pipeline_executable_properties) as a line of JSON to the file
// $VKMOE_COMPILER_STATS, and stands in for what RADV's device without hardware lacks: memory types, fences, commands.
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace {

using nlohmann::json;

struct Next {  // what is below this layer
  VkInstance instance = VK_NULL_HANDLE;
  PFN_vkGetInstanceProcAddr instance_proc = nullptr;
  // Looked up while the instance is made: later the loader would answer with this layer's own.
  PFN_vkGetPhysicalDeviceMemoryProperties memory = nullptr;
  PFN_vkGetPhysicalDeviceMemoryProperties2 memory2 = nullptr;
  PFN_vkEnumerateDeviceExtensionProperties device_extensions = nullptr;
  VkDevice device = VK_NULL_HANDLE;
  PFN_vkGetDeviceProcAddr device_proc = nullptr;
  bool without_hardware = false, statistics = false;

  template <class F>
  F get(const char* name) const {
    return reinterpret_cast<F>(device ? device_proc(device, name) : instance_proc(instance, name));
  }
};
#define BELOW(next, function) (next).get<PFN_##function>(#function)

std::mutex mutex;
std::map<void*, Next> instances, devices;  // by the loader's dispatch table, which children share
std::map<VkShaderModule, uint64_t> module_hashes;
std::map<uint64_t, int> pipeline_numbers;
int pipelines_seen = 0;

template <class Handle>
void* table_of(Handle handle) {
  return *reinterpret_cast<void**>(handle);
}
template <class Handle>
Next instance_of(Handle handle) {
  std::lock_guard lock(mutex);
  return instances[table_of(handle)];
}
template <class Handle>
Next device_of(Handle handle) {
  std::lock_guard lock(mutex);
  return devices[table_of(handle)];
}

void write_line(const json& line) {
  static FILE* file = [] {
    const char* path = std::getenv("VKMOE_COMPILER_STATS");
    return path && *path ? std::fopen(path, "a") : nullptr;
  }();
  if (!file) return;
  std::string text = line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

// ---- statistics -----------------------------------------------------------------------------------------------

json statistics_of(const Next& next, const VkPipelineExecutableInfoKHR& executable) {
  auto get = BELOW(next, vkGetPipelineExecutableStatisticsKHR);
  uint32_t count = 0;
  get(next.device, &executable, &count, nullptr);
  std::vector<VkPipelineExecutableStatisticKHR> items(count, {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR});
  get(next.device, &executable, &count, items.data());
  json result = json::object();
  for (const auto& item : items) {
    switch (item.format) {
      case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR: result[item.name] = bool(item.value.b32); break;
      case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR: result[item.name] = item.value.i64; break;
      case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR: result[item.name] = item.value.u64; break;
      default: result[item.name] = item.value.f64; break;
    }
  }
  return result;
}

// The last text that the driver offers: the machine's code.
std::string assembly_of(const Next& next, const VkPipelineExecutableInfoKHR& executable) {
  auto get = BELOW(next, vkGetPipelineExecutableInternalRepresentationsKHR);
  uint32_t count = 0;
  get(next.device, &executable, &count, nullptr);
  std::vector<VkPipelineExecutableInternalRepresentationKHR> items(
      count, {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR});
  get(next.device, &executable, &count, items.data());
  std::vector<std::string> texts(count);
  for (uint32_t i = 0; i < count; i++) {
    texts[i].resize(items[i].dataSize);
    items[i].pData = texts[i].data();
  }
  get(next.device, &executable, &count, items.data());
  return texts.empty() ? "" : texts.back().c_str();
}

void report(const Next& next, VkPipeline pipeline, const VkPipelineShaderStageCreateInfo& stage, bool assembly) {
  VkPipelineInfoKHR info = {VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, nullptr, pipeline};
  auto get = BELOW(next, vkGetPipelineExecutablePropertiesKHR);
  uint32_t count = 0;
  get(next.device, &info, &count, nullptr);
  std::vector<VkPipelineExecutablePropertiesKHR> executables(count,
                                                             {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR});
  get(next.device, &info, &count, executables.data());
  std::lock_guard lock(mutex);
  int number = pipeline_numbers[uint64_t(pipeline)] = ++pipelines_seen;
  for (uint32_t i = 0; i < count; i++) {
    VkPipelineExecutableInfoKHR executable = {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, nullptr, pipeline, i};
    json line = {{"pipeline", number}, {"executable", executables[i].name}, {"subgroup", executables[i].subgroupSize}};
    line["module"] = module_hashes[stage.module];
    if (const VkSpecializationInfo* spec = stage.pSpecializationInfo) {
      for (uint32_t e = 0; e < spec->mapEntryCount; e++) {
        const VkSpecializationMapEntry& entry = spec->pMapEntries[e];
        uint32_t value = 0;
        std::memcpy(&value, static_cast<const char*>(spec->pData) + entry.offset, std::min<size_t>(entry.size, 4));
        line["constants"].push_back({entry.constantID, value});
      }
    }
    line["statistics"] = statistics_of(next, executable);
    if (assembly) line["assembly"] = assembly_of(next, executable);
    write_line(line);
  }
}

VKAPI_ATTR VkResult VKAPI_CALL create_compute_pipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                                        const VkComputePipelineCreateInfo* infos,
                                                        const VkAllocationCallbacks* allocator, VkPipeline* pipelines) {
  Next next = device_of(device);
  auto create = BELOW(next, vkCreateComputePipelines);
  if (!next.statistics) return create(device, cache, count, infos, allocator, pipelines);
  const char* wanted = std::getenv("VKMOE_COMPILER_ASSEMBLY");
  bool assembly = wanted && *wanted;
  std::vector<VkComputePipelineCreateInfo> copies(infos, infos + count);
  for (auto& copy : copies) {
    copy.flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR;
    if (assembly) copy.flags |= VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR;
  }
  VkResult result = create(device, VK_NULL_HANDLE, count, copies.data(), allocator, pipelines);
  for (uint32_t i = 0; result == VK_SUCCESS && i < count; i++) report(next, pipelines[i], infos[i].stage, assembly);
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL create_shader_module(VkDevice device, const VkShaderModuleCreateInfo* info,
                                                    const VkAllocationCallbacks* allocator, VkShaderModule* module) {
  VkResult result = BELOW(device_of(device), vkCreateShaderModule)(device, info, allocator, module);
  if (result != VK_SUCCESS) return result;
  std::string_view bytes(reinterpret_cast<const char*>(info->pCode), info->codeSize);
  std::lock_guard lock(mutex);
  module_hashes[*module] = std::hash<std::string_view>()(bytes);
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL set_object_name(VkDevice device, const VkDebugUtilsObjectNameInfoEXT* info) {
  if (info->objectType == VK_OBJECT_TYPE_PIPELINE) {
    std::lock_guard lock(mutex);
    auto found = pipeline_numbers.find(info->objectHandle);
    if (found != pipeline_numbers.end()) write_line({{"pipeline", found->second}, {"name", info->pObjectName}});
  }
  auto set = BELOW(device_of(device), vkSetDebugUtilsObjectNameEXT);
  return set ? set(device, info) : VK_SUCCESS;
}

// ---- RADV without hardware ------------------------------------------------------------------------------------

constexpr uint32_t kTypes = 3;

void pretend_memory(VkPhysicalDeviceMemoryProperties* memory) {
  if (memory->memoryTypeCount) return;
  constexpr VkMemoryPropertyFlags mapped = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  memory->memoryHeapCount = 2;
  memory->memoryHeaps[0] = {16ull << 30, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
  memory->memoryHeaps[1] = {16ull << 30, 0};
  memory->memoryTypeCount = kTypes;
  memory->memoryTypes[0] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0};
  memory->memoryTypes[1] = {mapped, 1};
  memory->memoryTypes[2] = {mapped | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, 1};
}

VKAPI_ATTR void VKAPI_CALL get_memory(VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties* memory) {
  instance_of(device).memory(device, memory);
  pretend_memory(memory);
}

VKAPI_ATTR void VKAPI_CALL get_memory2(VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties2* memory) {
  instance_of(device).memory2(device, memory);
  bool none = memory->memoryProperties.memoryTypeCount == 0;
  pretend_memory(&memory->memoryProperties);
  for (auto* item = static_cast<VkBaseOutStructure*>(memory->pNext); none && item; item = item->pNext) {
    if (item->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT) continue;
    auto* budget = reinterpret_cast<VkPhysicalDeviceMemoryBudgetPropertiesEXT*>(item);
    for (int heap = 0; heap < 2; heap++) budget->heapBudget[heap] = 16ull << 30, budget->heapUsage[heap] = 0;
  }
}

VKAPI_ATTR void VKAPI_CALL get_requirements(VkDevice device, VkBuffer buffer, VkMemoryRequirements* needs) {
  BELOW(device_of(device), vkGetBufferMemoryRequirements)(device, buffer, needs);
  needs->memoryTypeBits = (1 << kTypes) - 1;
}

VKAPI_ATTR void VKAPI_CALL get_requirements2(VkDevice device, const VkBufferMemoryRequirementsInfo2* info,
                                             VkMemoryRequirements2* needs) {
  BELOW(device_of(device), vkGetBufferMemoryRequirements2)(device, info, needs);
  needs->memoryRequirements.memoryTypeBits = (1 << kTypes) - 1;
}

// The host's view of memory, aligned as Vulkan promises; the driver's own is not.
struct Mapped {
  VkDeviceSize bytes = 0;
  void* address = nullptr;
};
std::map<VkDeviceMemory, Mapped> mapped_memory;

VKAPI_ATTR VkResult VKAPI_CALL allocate_memory(VkDevice device, const VkMemoryAllocateInfo* info,
                                               const VkAllocationCallbacks* allocator, VkDeviceMemory* memory) {
  VkMemoryAllocateInfo copy = *info;
  copy.memoryTypeIndex = 0;
  VkResult result = BELOW(device_of(device), vkAllocateMemory)(device, &copy, allocator, memory);
  std::lock_guard lock(mutex);
  if (result == VK_SUCCESS) mapped_memory[*memory] = {info->allocationSize, nullptr};
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL map_memory(VkDevice, VkDeviceMemory memory, VkDeviceSize offset, VkDeviceSize,
                                          VkMemoryMapFlags, void** address) {
  std::lock_guard lock(mutex);
  Mapped& mapped = mapped_memory[memory];
  if (!mapped.address) mapped.address = std::aligned_alloc(4096, (mapped.bytes + 4095) / 4096 * 4096);
  if (!mapped.address) return VK_ERROR_MEMORY_MAP_FAILED;
  *address = static_cast<char*>(mapped.address) + offset;
  return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL free_memory(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks* allocator) {
  {
    std::lock_guard lock(mutex);
    std::free(mapped_memory[memory].address);
    mapped_memory.erase(memory);
  }
  BELOW(device_of(device), vkFreeMemory)(device, memory, allocator);
}

// Fences and semaphores: handles that are never looked at, always signalled. Events likewise.
VKAPI_ATTR VkResult VKAPI_CALL create_signal(VkDevice, const void*, const VkAllocationCallbacks*, uint64_t* handle) {
  static uint64_t last = 0;
  std::lock_guard lock(mutex);
  *handle = ++last;
  return VK_SUCCESS;
}

// Takes any arguments (they stay in registers) and succeeds.
VKAPI_ATTR VkResult VKAPI_CALL do_nothing() { return VK_SUCCESS; }

PFN_vkVoidFunction stand_in(const char* name) {
  static const std::map<std::string, PFN_vkVoidFunction> functions = [] {
    std::map<std::string, PFN_vkVoidFunction> all = {
        {"vkGetBufferMemoryRequirements", PFN_vkVoidFunction(get_requirements)},
        {"vkGetBufferMemoryRequirements2", PFN_vkVoidFunction(get_requirements2)},
        {"vkGetBufferMemoryRequirements2KHR", PFN_vkVoidFunction(get_requirements2)},
        {"vkAllocateMemory", PFN_vkVoidFunction(allocate_memory)},
        {"vkMapMemory", PFN_vkVoidFunction(map_memory)},
        {"vkUnmapMemory", PFN_vkVoidFunction(do_nothing)},
        {"vkFreeMemory", PFN_vkVoidFunction(free_memory)},
        {"vkCreateFence", PFN_vkVoidFunction(create_signal)},
        {"vkCreateSemaphore", PFN_vkVoidFunction(create_signal)},
        {"vkCreateEvent", PFN_vkVoidFunction(create_signal)}};
    for (const char* idle :
         {"vkDestroyFence", "vkResetFences", "vkGetFenceStatus", "vkWaitForFences", "vkDestroySemaphore",
          "vkWaitSemaphores", "vkWaitSemaphoresKHR", "vkSignalSemaphore", "vkDestroyEvent", "vkSetEvent", "vkResetEvent",
          "vkGetEventStatus", "vkBeginCommandBuffer", "vkEndCommandBuffer", "vkResetCommandBuffer",
          "vkResetCommandPool", "vkQueueSubmit", "vkQueueSubmit2", "vkQueueWaitIdle", "vkDeviceWaitIdle",
          "vkGetQueryPoolResults"}) {
      all[idle] = PFN_vkVoidFunction(do_nothing);
    }
    return all;
  }();
  if (!std::strncmp(name, "vkCmd", 5)) return PFN_vkVoidFunction(do_nothing);
  auto found = functions.find(name);
  return found == functions.end() ? nullptr : found->second;
}

// ---- the layer's own place ------------------------------------------------------------------------------------

template <class Info>
Info* link_info(const void* chain, VkStructureType type) {
  auto* info = static_cast<Info*>(const_cast<void*>(chain));
  while (info && !(info->sType == type && info->function == VK_LAYER_LINK_INFO)) {
    info = static_cast<Info*>(const_cast<void*>(info->pNext));
  }
  return info;
}

VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo* info, const VkAllocationCallbacks* allocator,
                                               VkInstance* instance) {
  auto* link = link_info<VkLayerInstanceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
  if (!link) return VK_ERROR_INITIALIZATION_FAILED;
  Next next;
  next.instance_proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  VkResult result = BELOW(next, vkCreateInstance)(info, allocator, instance);
  if (result != VK_SUCCESS) return result;
  next.instance = *instance;
  next.memory = BELOW(next, vkGetPhysicalDeviceMemoryProperties);
  next.memory2 = BELOW(next, vkGetPhysicalDeviceMemoryProperties2);
  next.device_extensions = BELOW(next, vkEnumerateDeviceExtensionProperties);
  std::lock_guard lock(mutex);
  instances[table_of(*instance)] = next;
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo* info,
                                             const VkAllocationCallbacks* allocator, VkDevice* device) {
  auto* link = link_info<VkLayerDeviceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
  if (!link) return VK_ERROR_INITIALIZATION_FAILED;
  Next next = instance_of(physical);
  next.device_proc = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
  auto create = PFN_vkCreateDevice(link->u.pLayerInfo->pfnNextGetInstanceProcAddr(next.instance, "vkCreateDevice"));
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  VkPhysicalDeviceMemoryProperties memory;
  next.memory(physical, &memory);
  next.without_hardware = memory.memoryTypeCount == 0;

  constexpr const char* extension = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
  uint32_t count = 0;
  next.device_extensions(physical, nullptr, &count, nullptr);
  std::vector<VkExtensionProperties> offered(count);
  next.device_extensions(physical, nullptr, &count, offered.data());
  for (const auto& item : offered) next.statistics |= !std::strcmp(item.extensionName, extension);
  VkDeviceCreateInfo copy = *info;
  std::vector<const char*> extensions(info->ppEnabledExtensionNames,
                                      info->ppEnabledExtensionNames + info->enabledExtensionCount);
  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR feature = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
      const_cast<void*>(info->pNext), VK_TRUE};
  bool enabled = false;
  for (const char* name : extensions) enabled |= !std::strcmp(name, extension);
  if (next.statistics && !enabled) {
    extensions.push_back(extension);
    copy.enabledExtensionCount = uint32_t(extensions.size());
    copy.ppEnabledExtensionNames = extensions.data();
    copy.pNext = &feature;
  }
  VkResult result = create(physical, &copy, allocator, device);
  if (result != VK_SUCCESS) return result;
  next.device = *device;
  std::lock_guard lock(mutex);
  devices[table_of(*device)] = next;
  return result;
}

PFN_vkVoidFunction of_device(const char* name) {
  static const std::map<std::string, PFN_vkVoidFunction> functions = {
      {"vkCreateComputePipelines", PFN_vkVoidFunction(create_compute_pipelines)},
      {"vkCreateShaderModule", PFN_vkVoidFunction(create_shader_module)},
      {"vkSetDebugUtilsObjectNameEXT", PFN_vkVoidFunction(set_object_name)}};
  auto found = functions.find(name);
  return found == functions.end() ? nullptr : found->second;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL
vkmoe_compilers_device_proc(VkDevice device, const char* name) {
  if (!std::strcmp(name, "vkGetDeviceProcAddr")) return PFN_vkVoidFunction(vkmoe_compilers_device_proc);
  if (auto mine = of_device(name)) return mine;
  Next next = device_of(device);
  if (next.without_hardware) {
    if (auto mine = stand_in(name)) return mine;
  }
  return next.device_proc(device, name);
}

extern "C" __attribute__((visibility("default"))) VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL
vkmoe_compilers_instance_proc(VkInstance instance, const char* name) {
  static const std::map<std::string, PFN_vkVoidFunction> functions = {
      {"vkGetInstanceProcAddr", PFN_vkVoidFunction(vkmoe_compilers_instance_proc)},
      {"vkGetDeviceProcAddr", PFN_vkVoidFunction(vkmoe_compilers_device_proc)},
      {"vkCreateInstance", PFN_vkVoidFunction(create_instance)},
      {"vkCreateDevice", PFN_vkVoidFunction(create_device)},
      {"vkGetPhysicalDeviceMemoryProperties", PFN_vkVoidFunction(get_memory)},
      {"vkGetPhysicalDeviceMemoryProperties2", PFN_vkVoidFunction(get_memory2)},
      {"vkGetPhysicalDeviceMemoryProperties2KHR", PFN_vkVoidFunction(get_memory2)}};
  auto found = functions.find(name);
  if (found != functions.end()) return found->second;
  if (auto mine = of_device(name)) return mine;
  if (!instance) return nullptr;
  return instance_of(instance).instance_proc(instance, name);
}
