#include "runtime/kernel_store.h"

#include <algorithm>
#include <system_error>

#include "runtime/spirv.h"

namespace vkmoe {
namespace {

constexpr uint32_t kCooperativeMatrix = 6022;  // SPIR-V capability

// Whether what a module declares was enabled with the device; Vulkan leaves undefined what happens otherwise.
bool capability_enabled(uint32_t capability, const Caps& caps) {
  switch (capability) {
    case 0:   // Matrix
    case 1:   // Shader
    case 46:  // SampledBuffer
    case 61:  // GroupNonUniform
      return true;
    case 63:  // GroupNonUniformArithmetic
      return caps.subgroup_arithmetic;
    case 64:  // GroupNonUniformBallot
      return caps.subgroup_ballot;
    case 65:  // GroupNonUniformShuffle
      return caps.subgroup_shuffle;
    case 9:  // Float16
      return caps.fp16;
    case 39:  // Int8
      return caps.int8;
    case 4433:  // StorageBuffer16BitAccess
      return caps.storage16;
    case 4448:  // StorageBuffer8BitAccess
      return caps.storage8;
    case 6016:  // DotProductInputAll
    case 6017:  // DotProductInput4x8Bit
    case 6018:  // DotProductInput4x8BitPacked
    case 6019:  // DotProduct
      return caps.integer_dot;
    case 5345:  // VulkanMemoryModel
    case kCooperativeMatrix:
      return caps.cooperative_matrix.m;
    default:
      return false;
  }
}

std::string make_label(const KernelBinary& binary, const SpecConstants& constants) {
  std::string label = binary.name;
  for (size_t i = 0; i < constants.size(); i++) label += (i ? "," : "(") + std::to_string(constants[i]);
  return constants.empty() ? label : label + ")";
}

}  // namespace

const KernelBinary* find_kernel(const std::string& name) {
  const auto& kernels = embedded_kernels();
  auto before = [](const KernelBinary& kernel, const std::string& wanted) { return kernel.name < wanted; };
  auto found = std::lower_bound(kernels.begin(), kernels.end(), name, before);
  return found == kernels.end() || found->name != name ? nullptr : &*found;
}

KernelStore::~KernelStore() {
  stop();
  for (auto& [key, entry] : entries_) {
    vkDestroyPipeline(gpu_.device, static_cast<VkPipeline>(entry->pipeline), nullptr);
  }
  for (auto& [key, layout] : pipeline_layouts_) vkDestroyPipelineLayout(gpu_.device, layout, nullptr);
  for (auto& [key, layout] : set_layouts_) vkDestroyDescriptorSetLayout(gpu_.device, layout, nullptr);
}

const Kernel& KernelStore::get(const std::string& name, const SpecConstants& constants) {
  const KernelBinary* found = find_kernel(name);
  if (!found) fail(VKMOE_ERROR_INTERNAL, "there is no kernel '", name, "'");
  return get(*found, constants);
}

const Kernel& KernelStore::get(const KernelBinary& binary, const SpecConstants& constants) {
  if (constants.size() > binary.spec_count) {
    fail(VKMOE_ERROR_INTERNAL, "kernel ", binary.name, ": ", constants.size(),
         " specialization constants given, it has ", binary.spec_count);
  }
  SpecConstants all = constants;
  for (uint32_t i = uint32_t(all.size()); i < binary.spec_count; i++) all.push_back(binary.spec_defaults[i]);
  std::lock_guard lock(mutex_);
  auto known = entries_.find({&binary, all});
  if (known == entries_.end()) {
    auto made = std::make_unique<Entry>();
    describe(*made, binary, all);
    known = entries_.emplace(std::pair(&binary, all), std::move(made)).first;
  }
  Entry& entry = *known->second;
  if (entry.state == State::fresh || entry.state == State::failed) enqueue(entry);
  return entry;
}

void KernelStore::describe(Kernel& kernel, const KernelBinary& binary, const SpecConstants& constants) {
  kernel.binary = &binary;
  kernel.constants = constants;
  kernel.label = make_label(binary, constants);
  for (int axis = 0; axis < 3; axis++) {
    int32_t id = binary.local_size_spec[axis];
    kernel.local_size[axis] = id >= 0 ? constants.at(size_t(id)) : binary.local_size[axis];
  }
  check_limits(kernel);
  Layout layouts = layout(binary);
  kernel.set_layout = layouts.set;
  kernel.layout = layouts.pipeline;
}

void KernelStore::enqueue(Entry& entry) {
  entry.state = State::queued;
  queue_.push_back(&entry);
  size_t most_threads = std::max(1u, std::thread::hardware_concurrency()) - 1;
  try {
    if (queue_.size() > idle_threads_ && threads_.size() < most_threads && !stopping_) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {  // no more threads: those there are, or wait(), do it
  }
  changed_.notify_all();
}

void KernelStore::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (queue_.empty()) {
      idle_threads_++;
      changed_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      idle_threads_--;
      continue;
    }
    Entry& entry = *queue_.front();
    queue_.pop_front();
    if (entry.state == State::queued) compile(entry, lock);
  }
}

void KernelStore::compile(Entry& entry, std::unique_lock<std::mutex>& lock) {
  entry.state = State::compiling;
  lock.unlock();
  VkPipeline pipeline = VK_NULL_HANDLE;
  std::exception_ptr error;
  try {
    pipeline = create_pipeline(entry);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  entry.pipeline = pipeline;
  entry.error = error;
  entry.state = error ? State::failed : State::ready;
  pipelines_created_ += !error;
  changed_.notify_all();
}

void KernelStore::wait(const std::vector<const Kernel*>& kernels) {
  std::unique_lock lock(mutex_);
  std::vector<Entry*> wanted;
  for (const Kernel* kernel : kernels) wanted.push_back(entries_.at({kernel->binary, kernel->constants}).get());
  for (Entry* entry : wanted)
    if (entry->state == State::queued) compile(*entry, lock);
  for (Entry* entry : wanted) {
    changed_.wait(lock, [&] { return entry->state == State::ready || entry->state == State::failed; });
    if (entry->state == State::failed) std::rethrow_exception(entry->error);
  }
}

void KernelStore::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void KernelStore::count(DeviceCounters& counters) const {
  std::lock_guard lock(mutex_);
  counters.kernels_asked = entries_.size();
  counters.pipelines_created = pipelines_created_;
}

void KernelStore::check_limits(const Kernel& kernel) const {
  const KernelBinary& binary = *kernel.binary;
  const Caps& caps = gpu_.caps();
  auto within = [&](uint64_t wanted, uint64_t most, const char* what) {
    if (wanted <= most) return;
    fail(VKMOE_ERROR_UNSUPPORTED, "kernel ", kernel.label, " needs ", wanted, " ", what, ", the device allows ",
         most);
  };
  VkPhysicalDeviceProperties properties;
  vkGetPhysicalDeviceProperties(gpu_.physical.handle, &properties);
  uint64_t invocations = 1;
  for (int axis = 0; axis < 3; axis++) {
    if (kernel.local_size[axis] == 0) fail(VKMOE_ERROR_INTERNAL, "kernel ", kernel.label, ": workgroup size 0");
    within(kernel.local_size[axis], properties.limits.maxComputeWorkGroupSize[axis], "invocations along one axis");
    invocations *= kernel.local_size[axis];
    within(invocations, caps.max_invocations, "invocations a workgroup");
  }
  auto texels = std::count_if(binary.bindings, binary.bindings + binary.binding_count, [](auto& b) { return b.texels; });
  within(binary.binding_count - uint64_t(texels), caps.max_storage_buffers, "storage buffers");
  within(binary.push_bytes, caps.max_push_bytes, "bytes of push constants");
  within(spirv_shared_bytes(binary, kernel.constants), caps.max_shared_bytes, "bytes of shared memory");
  for (uint32_t capability : spirv_capabilities(binary)) {
    if (!capability_enabled(capability, caps)) {
      fail(VKMOE_ERROR_UNSUPPORTED, "kernel ", kernel.label, " needs SPIR-V capability ", capability,
           ", which the device lacks");
    }
  }
}

KernelStore::Layout KernelStore::layout(const KernelBinary& binary) {
  Types types(binary.binding_count);
  for (uint32_t i = 0; i < binary.binding_count; i++) types[i] = descriptor_type(binary.bindings[i]);
  uint32_t push_bytes = binary.push_bytes;
  VkDescriptorSetLayout& set = set_layouts_[types];
  if (!set) {
    std::vector<VkDescriptorSetLayoutBinding> items(types.size());
    for (uint32_t i = 0; i < types.size(); i++) items[i] = {i, types[i], 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
    VkDescriptorSetLayoutCreateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
    info.bindingCount = uint32_t(items.size());
    info.pBindings = items.data();
    check(vkCreateDescriptorSetLayout(gpu_.device, &info, nullptr, &set), "vkCreateDescriptorSetLayout");
  }
  VkPipelineLayout& pipeline = pipeline_layouts_[{types, push_bytes}];
  if (!pipeline) {
    VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, push_bytes};
    VkPipelineLayoutCreateInfo info = {VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
    info.setLayoutCount = 1;
    info.pSetLayouts = &set;
    info.pushConstantRangeCount = push_bytes ? 1 : 0;
    info.pPushConstantRanges = &range;
    check(vkCreatePipelineLayout(gpu_.device, &info, nullptr, &pipeline), "vkCreatePipelineLayout");
  }
  return {set, pipeline};
}

VkPipeline KernelStore::create_pipeline(const Kernel& kernel) {
  const KernelBinary& binary = *kernel.binary;
  std::vector<VkSpecializationMapEntry> entries(binary.spec_count);
  for (uint32_t i = 0; i < binary.spec_count; i++) entries[i] = {i, i * 4, 4};
  VkSpecializationInfo specialization = {binary.spec_count, entries.data(), kernel.constants.size() * 4,
                                         kernel.constants.data()};
  VkShaderModuleCreateInfo module_info = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  module_info.codeSize = size_t(binary.word_count) * 4;
  module_info.pCode = binary.words;
  VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.pName = "main";
  info.stage.pSpecializationInfo = &specialization;
  info.layout = static_cast<VkPipelineLayout>(kernel.layout);
  // Matrices belong to whole subgroups, and their kernels reckon with a size of these.
  VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup = {
      VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO};
  subgroup.requiredSubgroupSize = gpu_.caps().cooperative_matrix.lanes;
  std::vector<uint32_t> capabilities = spirv_capabilities(binary);
  if (std::count(capabilities.begin(), capabilities.end(), kCooperativeMatrix)) {
    info.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
    info.stage.pNext = &subgroup;
  }
  check(vkCreateShaderModule(gpu_.device, &module_info, nullptr, &info.stage.module), "vkCreateShaderModule");
  VkPipeline pipeline = VK_NULL_HANDLE;
  VkResult result = vkCreateComputePipelines(gpu_.device, cache_.handle(), 1, &info, nullptr, &pipeline);
  vkDestroyShaderModule(gpu_.device, info.stage.module, nullptr);
  check(result, cat("vkCreateComputePipelines for kernel ", kernel.label).c_str());
  gpu_.set_name(VK_OBJECT_TYPE_PIPELINE, uint64_t(pipeline), kernel.label);
  return pipeline;
}

}  // namespace vkmoe
