#include "runtime/memory.h"

#include <algorithm>

#include "base/numeric.h"
#include "runtime/gpu.h"

namespace vkmoe {
namespace {

constexpr uint64_t kDeviceBlockBytes = 64 << 20, kHostBlockBytes = 4 << 20;
constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
constexpr VkMemoryPropertyFlags kVisible =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
constexpr VkBufferUsageFlags kBufferUsage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
                                            VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                            VK_BUFFER_USAGE_TRANSFER_DST_BIT;

}  // namespace

std::optional<uint64_t> RangeAllocator::allocate(uint64_t size, uint64_t alignment) {
  auto best = free_.end();
  for (auto range = free_.begin(); range != free_.end(); ++range) {
    uint64_t padding = round_up(range->first, alignment) - range->first;
    if (range->second < padding || range->second - padding < size) continue;
    if (best == free_.end() || range->second < best->second) best = range;
  }
  if (best == free_.end()) return std::nullopt;
  auto [start, length] = *best;
  uint64_t offset = round_up(start, alignment);
  free_.erase(best);
  if (offset > start) free_[start] = offset - start;
  if (offset + size < start + length) free_[offset + size] = start + length - offset - size;
  return offset;
}

void RangeAllocator::release(uint64_t offset, uint64_t size) {
  auto next = free_.lower_bound(offset);
  if (next != free_.end() && offset + size == next->first) {
    size += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    auto previous = std::prev(next);
    if (previous->first + previous->second == offset) {
      previous->second += size;
      return;
    }
  }
  free_[offset] = size;
}

Memory::Memory(Gpu& gpu) : gpu_(gpu) {}

Memory::~Memory() {
  for (auto& block : blocks_) vkFreeMemory(gpu_.device, block->memory, nullptr);
}

// The rule: host memory is always coherent (Vulkan promises such a type), so nothing is flushed by hand. What else is
// preferred follows from the use; types with any property beyond these four (protected, lazily allocated, AMD's
// device-coherent) are never taken.
std::vector<uint32_t> Memory::types_for(MemoryUse use, uint32_t allowed_bits) const {
  const VkPhysicalDeviceMemoryProperties& memory = gpu_.physical.memory;
  bool unified = gpu_.caps().unified_memory;
  std::vector<std::pair<int, uint32_t>> scored;
  for (uint32_t t = 0; t < memory.memoryTypeCount; t++) {
    VkMemoryPropertyFlags flags = memory.memoryTypes[t].propertyFlags;
    if (!(allowed_bits >> t & 1) || flags & ~(kLocal | kVisible | kCached)) continue;
    bool local = flags & kLocal, visible = (flags & kVisible) == kVisible, cached = flags & kCached;
    int score = 0;
    if (use == MemoryUse::device) {
      bool same_memory = unified && gpu_.caps().type != "discrete" && visible;
      if (!local && !same_memory) continue;  // never a discrete GPU's weights behind its bus
      score = 4 * local + 2 * (visible == unified) + !cached;
    } else {
      if (!visible) continue;
      score = use == MemoryUse::readback ? 2 * cached + !local : 2 * !cached + !local;
    }
    scored.emplace_back(-score, t);
  }
  // Of equal types the one in the larger heap, then the driver's own order, which is by speed.
  std::stable_sort(scored.begin(), scored.end(), [&](auto a, auto b) {
    if (a.first != b.first) return a.first < b.first;
    return memory.memoryHeaps[memory.memoryTypes[a.second].heapIndex].size >
           memory.memoryHeaps[memory.memoryTypes[b.second].heapIndex].size;
  });
  std::vector<uint32_t> types;
  for (auto& item : scored) types.push_back(item.second);
  return types;
}

uint64_t Memory::available(uint32_t heap) const {
  uint64_t size = gpu_.physical.memory.memoryHeaps[heap].size;
  uint64_t left = size - std::min(size, heap_used_[heap]);
  if (gpu_.memory_budget) {
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, &budget};
    vkGetPhysicalDeviceMemoryProperties2(gpu_.physical.handle, &properties);
    left = std::min(left, budget.heapBudget[heap] - std::min(budget.heapBudget[heap], budget.heapUsage[heap]));
  }
  return left;
}

MemoryBlock* Memory::new_block(uint32_t type, uint64_t size) {
  const VkMemoryType& properties = gpu_.physical.memory.memoryTypes[type];
  uint32_t heap = properties.heapIndex;
  uint64_t heap_size = gpu_.physical.memory.memoryHeaps[heap].size;
  // Drivers on the CPU name a heap size for the sake of naming one; only a single allocation must stay below it.
  uint64_t used = gpu_.caps().type == "cpu" ? 0 : std::min(heap_size, heap_used_[heap]);
  if (size > gpu_.caps().max_allocation_bytes || size > heap_size - used) return nullptr;
  VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, size, type};
  VkDeviceMemory memory;
  if (vkAllocateMemory(gpu_.device, &info, nullptr, &memory) != VK_SUCCESS) return nullptr;
  void* mapped = nullptr;
  if ((properties.propertyFlags & kVisible) == kVisible) {
    VkResult result = vkMapMemory(gpu_.device, memory, 0, VK_WHOLE_SIZE, 0, &mapped);
    if (result != VK_SUCCESS) {
      vkFreeMemory(gpu_.device, memory, nullptr);
      return nullptr;
    }
  }
  auto block = std::make_unique<MemoryBlock>(
      MemoryBlock{memory, type, size, static_cast<uint8_t*>(mapped), RangeAllocator(size)});
  heap_used_[heap] += size;
  gpu_.counters.memory_bytes += size;
  gpu_.counters.peak_memory_bytes = std::max(gpu_.counters.peak_memory_bytes, gpu_.counters.memory_bytes);
  blocks_.push_back(std::move(block));
  return blocks_.back().get();
}

bool Memory::take(MemoryBlock& block, const VkMemoryRequirements& needs, MemoryPart* part) {
  auto offset = block.ranges.allocate(needs.size, needs.alignment);
  if (offset) *part = {&block, *offset, needs.size};
  return offset.has_value();
}

MemoryPart Memory::allocate(const VkMemoryRequirements& needs, MemoryUse use, const std::string& name) {
  std::lock_guard lock(mutex_);
  std::vector<uint32_t> types = types_for(use, needs.memoryTypeBits);
  uint64_t most_available = 0;
  for (uint32_t type : types) {
    uint32_t heap = gpu_.physical.memory.memoryTypes[type].heapIndex;
    uint64_t block_bytes = std::min({use == MemoryUse::device ? kDeviceBlockBytes : kHostBlockBytes,
                                     gpu_.physical.memory.memoryHeaps[heap].size / 16,
                                     gpu_.caps().max_allocation_bytes});
    MemoryPart part;
    MemoryBlock* block = nullptr;
    if (needs.size < block_bytes / 4) {
      for (auto& candidate : blocks_) {
        if (candidate->type == type && take(*candidate, needs, &part)) return part;
      }
      block = new_block(type, block_bytes);
    }
    if (!block) block = new_block(type, needs.size);  // one of its own
    if (block && take(*block, needs, &part)) return part;
    most_available = std::max(most_available, available(heap));
  }
  const char* kind = use == MemoryUse::device ? "device" : "host-visible";
  fail(VKMOE_ERROR_OUT_OF_MEMORY, "buffer '", name, "': ", needs.size, " bytes wanted, ", most_available,
       " bytes of ", kind, " memory there");
}

void Memory::release(const MemoryPart& part) {
  std::lock_guard lock(mutex_);
  part.block->ranges.release(part.offset, part.size);
  if (!part.block->ranges.empty()) return;
  auto found = std::find_if(blocks_.begin(), blocks_.end(), [&](auto& block) { return block.get() == part.block; });
  heap_used_[gpu_.physical.memory.memoryTypes[part.block->type].heapIndex] -= part.block->size;
  gpu_.counters.memory_bytes -= part.block->size;
  vkFreeMemory(gpu_.device, part.block->memory, nullptr);
  blocks_.erase(found);
}

bool Memory::cached(const MemoryPart& part) const {
  return gpu_.physical.memory.memoryTypes[part.block->type].propertyFlags & kCached;
}

BufferImpl::~BufferImpl() {
  if (handle) vkDestroyBuffer(gpu->device, handle, nullptr);
  if (memory.block) gpu->memory->release(memory);
}

Buffer make_buffer(const std::shared_ptr<Gpu>& gpu, uint64_t size_bytes, MemoryUse use, const std::string& name) {
  const Caps& caps = gpu->caps();
  // Also keeps round_up() below from wrapping around.
  uint64_t limit = use == MemoryUse::device ? std::min(caps.max_binding_bytes, caps.max_allocation_bytes)
                                            : caps.max_allocation_bytes;
  if (size_bytes == 0) fail(VKMOE_ERROR_INVALID_ARGUMENT, "buffer '", name, "': 0 bytes wanted");
  if (size_bytes > limit / 16 * 16) {
    fail(VKMOE_ERROR_UNSUPPORTED, "buffer '", name, "': ", size_bytes, " bytes wanted, the device allows ", limit,
         " bytes in one buffer");
  }
  auto impl = std::make_shared<BufferImpl>();
  impl->gpu = gpu;
  impl->name = name;
  impl->size = round_up(size_bytes, 16);
  VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = impl->size;
  info.usage = kBufferUsage;
  check(vkCreateBuffer(gpu->device, &info, nullptr, &impl->handle), "vkCreateBuffer");
  gpu->set_name(VK_OBJECT_TYPE_BUFFER, uint64_t(impl->handle), name);
  VkMemoryRequirements needs;
  vkGetBufferMemoryRequirements(gpu->device, impl->handle, &needs);
  impl->memory = gpu->memory->allocate(needs, use, name);
  impl->host_cached = gpu->memory->cached(impl->memory);
  uint8_t* mapped = impl->memory.block->mapped;
  bool reachable = mapped && (use != MemoryUse::device || caps.unified_memory);
  impl->mapped = reachable ? mapped + impl->memory.offset : nullptr;
  check(vkBindBufferMemory(gpu->device, impl->handle, impl->memory.block->memory, impl->memory.offset),
        "vkBindBufferMemory");
  Buffer buffer;
  buffer.impl_ = std::move(impl);
  return buffer;
}

}  // namespace vkmoe
