#include "runtime/recording.h"

#include <algorithm>

#include "runtime/recording_impl.h"

namespace vkmoe {
namespace {

constexpr uint32_t kSetsPerPool = 256, kDescriptorsPerPool = 2048, kTexelViewsPerPool = 768;

void check_view(const BufferView& view, const std::string& what) {
  if (!view.buffer) fail(VKMOE_ERROR_INTERNAL, what, " has no buffer");
  uint64_t size = view.buffer.size();
  if (view.size == 0 || view.offset > size || view.size > size - view.offset) {
    fail(VKMOE_ERROR_INTERNAL, what, ": range [", view.offset, ", +", view.size, ") lies outside of buffer '",
         view.buffer.name(), "' of ", size, " bytes");
  }
}

void check_words(const BufferView& view, const std::string& what) {
  check_view(view, what);
  if (view.offset % 4 || view.size % 4) {
    fail(VKMOE_ERROR_INTERNAL, what, ": range [", view.offset, ", +", view.size, ") is not made of 4-byte words");
  }
}

Access access(const BufferView& view, bool reads, bool writes) {
  return {view.buffer.impl_.get(), view.offset, view.size, reads, writes};
}

}  // namespace

Recording::Recording(Device& device, const std::string& name, bool profile)
    : impl_(std::make_unique<RecordingImpl>()) {
  RecordingImpl& r = *impl_;
  r.gpu = device.impl()->gpu;
  r.kernels = &device.impl()->kernels;
  r.profile = profile;
  r.notes->name = name;
  r.notes->id = r.gpu->queue->next_id();
  VkCommandPoolCreateInfo pool_info = {VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  pool_info.queueFamilyIndex = r.gpu->physical.queue_family;
  check(vkCreateCommandPool(r.gpu->device, &pool_info, nullptr, &r.pool), "vkCreateCommandPool");
  VkCommandBufferAllocateInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  info.commandPool = r.pool;
  info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  info.commandBufferCount = 1;
  check(vkAllocateCommandBuffers(r.gpu->device, &info, &r.commands), "vkAllocateCommandBuffers");
  r.gpu->set_name(VK_OBJECT_TYPE_COMMAND_BUFFER, uint64_t(r.commands), name);
  r.add_barrier(kWorkStages, kWorkWrites, kWorkStages, kWorkAccess);
  if (profile) r.write_timestamp();
}

Recording::Recording(Device& device, KernelsOnly) : impl_(std::make_unique<RecordingImpl>()) {
  impl_->gpu = device.impl()->gpu;
  impl_->kernels_only = true;
}

Recording::~Recording() = default;

uint32_t texel_bytes(Texels texels) { return texels == Texels::none ? 0 : texels == Texels::uint1 ? 4 : 16; }

RecordingImpl::~RecordingImpl() {
  try {
    gpu->queue->wait(last_ticket);
  } catch (const std::exception&) {  // the device is lost: nothing runs any more
  }
  for (VkQueryPool queries : timestamps.pools) vkDestroyQueryPool(gpu->device, queries, nullptr);
  for (VkDescriptorPool descriptors : descriptor_pools) vkDestroyDescriptorPool(gpu->device, descriptors, nullptr);
  for (auto& [key, view] : texel_views) vkDestroyBufferView(gpu->device, view, nullptr);
  if (pool) vkDestroyCommandPool(gpu->device, pool, nullptr);
}

void RecordingImpl::check_open(const std::string& what) const {
  if (ended) fail(VKMOE_ERROR_INTERNAL, what, ": recording '", notes->name, "' has ended");
}

void RecordingImpl::add_barrier(VkPipelineStageFlags from, VkAccessFlags writes, VkPipelineStageFlags to,
                                VkAccessFlags access) {
  steps.push_back([=](VkCommandBuffer to_buffer) { memory_barrier(to_buffer, from, writes, to, access); });
}

// Where bytes are touched that await a barrier, one for all goes in. Its second half always covers all stages, so
// that the first half need only name those used since the last one.
void RecordingImpl::order(const std::vector<Access>& accesses, VkPipelineStageFlags stages) {
  if (hazards.conflicts(accesses)) {
    VkAccessFlags writes = 0;
    if (stages_since_barrier & VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT) writes |= VK_ACCESS_SHADER_WRITE_BIT;
    if (stages_since_barrier & VK_PIPELINE_STAGE_TRANSFER_BIT) writes |= VK_ACCESS_TRANSFER_WRITE_BIT;
    add_barrier(stages_since_barrier, writes, kWorkStages, kWorkAccess);
    hazards.clear();
    stages_since_barrier = 0;
    barriers++;
  }
  hazards.add(accesses);
  stages_since_barrier |= stages;
}

VkDescriptorSet RecordingImpl::allocate_set(VkDescriptorSetLayout layout, uint32_t bindings) {
  VkDescriptorSetAllocateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
  info.descriptorSetCount = 1;
  info.pSetLayouts = &layout;
  VkDescriptorSet set;
  if (!descriptor_pools.empty()) {
    info.descriptorPool = descriptor_pools.back();
    VkResult result = vkAllocateDescriptorSets(gpu->device, &info, &set);
    if (result == VK_SUCCESS) return set;
    if (result != VK_ERROR_OUT_OF_POOL_MEMORY && result != VK_ERROR_FRAGMENTED_POOL) {
      check(result, "vkAllocateDescriptorSets");
    }
  }
  VkDescriptorPoolSize sizes[] = {
      {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, std::max(kDescriptorsPerPool, bindings)},
      {VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, std::max(kTexelViewsPerPool, bindings)},
  };
  VkDescriptorPoolCreateInfo pool_info = {VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  pool_info.maxSets = kSetsPerPool;
  pool_info.poolSizeCount = 2;
  pool_info.pPoolSizes = sizes;
  VkDescriptorPool new_pool;
  check(vkCreateDescriptorPool(gpu->device, &pool_info, nullptr, &new_pool), "vkCreateDescriptorPool");
  descriptor_pools.push_back(new_pool);
  info.descriptorPool = new_pool;
  check(vkAllocateDescriptorSets(gpu->device, &info, &set), "vkAllocateDescriptorSets");
  return set;
}

VkBufferView RecordingImpl::texel_view(const BufferView& view) {
  VkBuffer buffer = view.buffer.impl_->handle;
  VkBufferView& made = texel_views[{uint64_t(buffer), view.offset, view.size, uint64_t(view.texels)}];
  if (made) return made;
  VkBufferViewCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO};
  info.buffer = buffer;
  info.format = view.texels == Texels::uint1   ? VK_FORMAT_R32_UINT
                : view.texels == Texels::uint4 ? VK_FORMAT_R32G32B32A32_UINT
                                               : VK_FORMAT_R32G32B32A32_SFLOAT;
  info.offset = view.offset;
  info.range = view.size;
  check(vkCreateBufferView(gpu->device, &info, nullptr, &made), "vkCreateBufferView");
  return made;
}

VkDescriptorSet RecordingImpl::descriptor_set(const Kernel& kernel, const std::vector<BufferView>& bindings) {
  std::vector<uint64_t> key = {uint64_t(kernel.set_layout)};
  for (const BufferView& view : bindings) {
    key.insert(key.end(), {uint64_t(view.buffer.impl_->handle), view.offset, view.size, uint64_t(view.texels)});
  }
  auto found = sets.find(key);
  if (found != sets.end()) return found->second;
  auto layout = static_cast<VkDescriptorSetLayout>(kernel.set_layout);
  VkDescriptorSet set = allocate_set(layout, uint32_t(bindings.size()));
  std::vector<VkDescriptorBufferInfo> infos(bindings.size());
  std::vector<VkBufferView> views(bindings.size());
  std::vector<VkWriteDescriptorSet> writes(bindings.size(), {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET});
  for (uint32_t i = 0; i < bindings.size(); i++) {
    writes[i].dstSet = set;
    writes[i].dstBinding = i;
    writes[i].descriptorCount = 1;
    writes[i].descriptorType = descriptor_type(kernel.binary->bindings[i]);
    if (kernel.binary->bindings[i].texels) {
      views[i] = texel_view(bindings[i]);
      writes[i].pTexelBufferView = &views[i];
    } else {
      infos[i] = {bindings[i].buffer.impl_->handle, bindings[i].offset, bindings[i].size};
      writes[i].pBufferInfo = &infos[i];
    }
  }
  vkUpdateDescriptorSets(gpu->device, uint32_t(writes.size()), writes.data(), 0, nullptr);
  sets.emplace(std::move(key), set);
  return set;
}

// All checks come before the first command, so that a dispatch that fails leaves no trace.
void RecordingImpl::prepare(const Kernel& kernel, const std::vector<BufferView>& bindings, const void* push,
                            uint32_t push_bytes, const BufferView* groups) {
  check_open(kernel.label);
  const KernelBinary& binary = *kernel.binary;
  const Caps& caps = gpu->caps();
  if (bindings.size() != binary.binding_count) {
    fail(VKMOE_ERROR_INTERNAL, kernel.label, ": ", bindings.size(), " buffers given, it has ", binary.binding_count,
         " bindings");
  }
  if (push_bytes != binary.push_bytes) {
    fail(VKMOE_ERROR_INTERNAL, kernel.label, ": ", push_bytes, " bytes of push constants given, it has ",
         binary.push_bytes);
  }
  std::vector<Access> accesses;
  for (size_t i = 0; i < bindings.size(); i++) {
    std::string what = cat(kernel.label, ", binding ", i);
    check_view(bindings[i], what);
    bool texels = binary.bindings[i].texels;
    if (texels != (bindings[i].texels != Texels::none)) {
      fail(VKMOE_ERROR_INTERNAL, what, texels ? " is a texel buffer" : " is not a texel buffer");
    }
    uint32_t alignment = texels ? caps.texel_alignment : caps.storage_alignment;
    if (bindings[i].offset % alignment) {
      fail(VKMOE_ERROR_INTERNAL, what, ": offset ", bindings[i].offset, " is not a multiple of ", alignment);
    }
    if (texels) {
      uint32_t bytes = texel_bytes(bindings[i].texels);
      if (bindings[i].size % bytes || bindings[i].size / bytes > caps.max_texels) {
        fail(VKMOE_ERROR_UNSUPPORTED, what, ": ", bindings[i].size, " bytes of buffer '", bindings[i].buffer.name(),
             "' as texels of ", bytes, " bytes, the device takes ", caps.max_texels);
      }
    } else if (bindings[i].size > caps.max_binding_bytes) {
      fail(VKMOE_ERROR_UNSUPPORTED, what, ": ", bindings[i].size, " bytes of buffer '", bindings[i].buffer.name(),
           "', the device binds ", caps.max_binding_bytes);
    }
    bool writes = binary.bindings[i].writes;
    accesses.push_back(access(bindings[i], binary.bindings[i].reads || !writes, writes));
  }
  VkPipelineStageFlags stages = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
  if (groups) {
    check_words(*groups, kernel.label + ", group counts");
    if (groups->size < 12) {
      fail(VKMOE_ERROR_INTERNAL, kernel.label, ": group counts need 12 bytes, not ", groups->size);
    }
    accesses.push_back({groups->buffer.impl_.get(), groups->offset, 12, true, false});
    stages |= VK_PIPELINE_STAGE_DRAW_INDIRECT_BIT;
    buffers.insert(groups->buffer.impl_);
  }
  VkDescriptorSet set = descriptor_set(kernel, bindings);
  for (const BufferView& view : bindings) buffers.insert(view.buffer.impl_);

  order(accesses, stages);
  auto first = static_cast<const uint8_t*>(push);
  steps.push_back([this, &kernel, set, bind = &kernel != bound_kernel, pushed = std::vector<uint8_t>(first, first + push_bytes),
                   number = uint32_t(dispatches)](VkCommandBuffer to) {
    auto layout = static_cast<VkPipelineLayout>(kernel.layout);
    if (bind) vkCmdBindPipeline(to, VK_PIPELINE_BIND_POINT_COMPUTE, static_cast<VkPipeline>(kernel.pipeline));
    vkCmdBindDescriptorSets(to, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, nullptr);
    if (!pushed.empty())
      vkCmdPushConstants(to, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, uint32_t(pushed.size()), pushed.data());
    gpu->queue->mark(to, *notes, number);
  });
  bound_kernel = &kernel;
  used_kernels.insert(&kernel);
  notes->kernels.push_back(kernel.label);
  dispatches++;
}

void Recording::dispatch(const Kernel& kernel, const std::vector<BufferView>& bindings, const void* push,
                         uint32_t push_bytes, uint32_t groups_x, uint32_t groups_y, uint32_t groups_z) {
  if (impl_->kernels_only) return;
  const uint32_t groups[3] = {groups_x, groups_y, groups_z};
  for (int axis = 0; axis < 3; axis++) {
    uint32_t most = impl_->gpu->caps().max_groups[axis];
    if (groups[axis] > most) {
      fail(VKMOE_ERROR_UNSUPPORTED, kernel.label, ": ", groups[axis], " workgroups along axis ", axis,
           ", the device allows ", most);
    }
  }
  if (!groups_x || !groups_y || !groups_z) {
    impl_->noted = nullptr;
    return impl_->check_open(kernel.label);
  }
  impl_->prepare(kernel, bindings, push, push_bytes, nullptr);
  impl_->steps.push_back([=](VkCommandBuffer to) { vkCmdDispatch(to, groups_x, groups_y, groups_z); });
  impl_->after(kernel.label);
}

void Recording::dispatch_indirect(const Kernel& kernel, const std::vector<BufferView>& bindings, const void* push,
                                  uint32_t push_bytes, const BufferView& groups) {
  if (impl_->kernels_only) return;
  impl_->prepare(kernel, bindings, push, push_bytes, &groups);
  impl_->steps.push_back([buffer = groups.buffer.impl_->handle, offset = groups.offset](VkCommandBuffer commands) {
    vkCmdDispatchIndirect(commands, buffer, offset);
  });
  impl_->after(kernel.label);
}

void Recording::copy(const BufferView& from, const BufferView& to) {
  if (impl_->kernels_only) return;
  impl_->check_open("copy");
  check_words(from, "copy, source");
  check_words(to, "copy, destination");
  if (from.size != to.size) {
    fail(VKMOE_ERROR_INTERNAL, "copy: ", from.size, " bytes from '", from.buffer.name(), "' to ", to.size,
         " bytes of '", to.buffer.name(), "'");
  }
  bool overlap = from.offset < to.offset + to.size && to.offset < from.offset + from.size;
  if (overlap && from.buffer.impl_ == to.buffer.impl_) {
    fail(VKMOE_ERROR_INTERNAL, "copy: source and destination overlap in '", to.buffer.name(), "'");
  }
  impl_->order({access(from, true, false), access(to, false, true)}, VK_PIPELINE_STAGE_TRANSFER_BIT);
  impl_->buffers.insert({from.buffer.impl_, to.buffer.impl_});
  VkBufferCopy region = {from.offset, to.offset, to.size};
  VkBuffer source = from.buffer.impl_->handle, target = to.buffer.impl_->handle;
  impl_->steps.push_back([=](VkCommandBuffer commands) { vkCmdCopyBuffer(commands, source, target, 1, &region); });
  impl_->after("copy");
}

void Recording::fill(const BufferView& to, uint32_t word) {
  if (impl_->kernels_only) return;
  impl_->check_open("fill");
  check_words(to, "fill");
  impl_->order({access(to, false, true)}, VK_PIPELINE_STAGE_TRANSFER_BIT);
  impl_->buffers.insert(to.buffer.impl_);
  VkBuffer target = to.buffer.impl_->handle;
  impl_->steps.push_back([=, offset = to.offset, size = to.size](VkCommandBuffer commands) {
    vkCmdFillBuffer(commands, target, offset, size, word);
  });
  impl_->after("fill");
}

void Recording::end() {
  impl_->check_open("end");
  if (impl_->kernels_only) return;
  impl_->kernels->wait({impl_->used_kernels.begin(), impl_->used_kernels.end()});
  VkPipelineStageFlags stages = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
  impl_->add_barrier(stages, kWorkWrites, VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
  VkCommandBufferBeginInfo begin = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  begin.flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT;  // it may stand twice in one submission
  check(vkBeginCommandBuffer(impl_->commands, &begin), "vkBeginCommandBuffer");
  for (const auto& step : impl_->steps) step(impl_->commands);
  check(vkEndCommandBuffer(impl_->commands), "vkEndCommandBuffer");
  impl_->ended = true;
  impl_->steps = {};
}

uint64_t Recording::dispatches() const { return impl_->dispatches; }
uint64_t Recording::barriers() const { return impl_->barriers; }

// ---- profile --------------------------------------------------------------------------------------------------

void RecordingImpl::write_timestamp() {
  if (!gpu->caps().timestamps) return;
  uint32_t query = timestamps.count++ % Timestamps::kPoolSize;
  if (query == 0) {
    VkQueryPoolCreateInfo info = {VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
    info.queryType = VK_QUERY_TYPE_TIMESTAMP;
    info.queryCount = Timestamps::kPoolSize;
    VkQueryPool queries;
    check(vkCreateQueryPool(gpu->device, &info, nullptr, &queries), "vkCreateQueryPool");
    timestamps.pools.push_back(queries);
    steps.push_back([queries](VkCommandBuffer to) { vkCmdResetQueryPool(to, queries, 0, Timestamps::kPoolSize); });
  }
  steps.push_back([query, queries = timestamps.pools.back()](VkCommandBuffer to) {
    vkCmdWriteTimestamp(to, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, queries, query);
  });
}

// With a barrier between them, the time from one timestamp to the next is that of one command alone.
void RecordingImpl::after(const std::string& what) {
  if (!profile) return;
  add_barrier(kWorkStages, kWorkWrites, kWorkStages, kWorkAccess);
  hazards.clear();
  stages_since_barrier = 0;
  write_timestamp();
  timed.push_back({what, std::move(noted)});
  noted = nullptr;
}

void Recording::note(CountWork work) {
  if (impl_->profile) impl_->noted = std::move(work);
}

const uint32_t* Recording::watch(const BufferView& words) {
  if (!impl_->profile) return nullptr;
  check_words(words, "watch");
  Buffer copy_of = make_buffer(impl_->gpu, words.size, MemoryUse::readback, "watched " + words.buffer.name());
  copy(words, {copy_of, 0, words.size});
  impl_->timed.back() = {};
  impl_->watched.push_back(copy_of);
  return static_cast<const uint32_t*>(copy_of.mapped());
}

void KernelTime::add(const KernelTime& other) {
  dispatches += other.dispatches;
  nanoseconds += other.nanoseconds;
  work.bytes += other.work.bytes;
  work.flops += other.work.flops;
}

std::vector<KernelTime> Recording::times() const {
  const RecordingImpl& r = *impl_;
  if (!r.profile || r.last_ticket == 0 || !r.gpu->queue->finished(r.last_ticket)) return {};
  std::vector<uint64_t> ticks(r.timestamps.count);
  for (uint32_t at = 0; at < r.timestamps.count; at += Timestamps::kPoolSize) {
    uint32_t count = std::min(Timestamps::kPoolSize, r.timestamps.count - at);
    check(vkGetQueryPoolResults(r.gpu->device, r.timestamps.pools[at / Timestamps::kPoolSize], 0, count, count * 8,
                                ticks.data() + at, 8, VK_QUERY_RESULT_64_BIT),
          "vkGetQueryPoolResults");
  }
  uint32_t bits = r.gpu->physical.timestamp_bits;
  uint64_t mask = bits >= 64 ? ~uint64_t(0) : (uint64_t(1) << bits) - 1;
  std::map<std::string, KernelTime> by_kernel;
  for (size_t i = 0; i < r.timed.size(); i++) {
    const auto& [what, work] = r.timed[i];
    if (what.empty()) continue;
    uint64_t spent = ticks.empty() ? 0 : (ticks[i + 1] - ticks[i]) & mask;  // a device without timestamps: counts only
    KernelTime& time = by_kernel[what];
    time.kernel = what;
    time.add({what, 1, uint64_t(double(spent) * r.gpu->caps().timestamp_ns), work ? work() : WorkCount{}});
  }
  std::vector<KernelTime> times;
  for (auto& [name, time] : by_kernel) times.push_back(time);
  return times;
}

}  // namespace vkmoe
