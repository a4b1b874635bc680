// Device memory: blocks by memory type that buffers share, and which type serves which use.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "runtime/device.h"
#include "runtime/vk.h"

namespace vkmoe {

struct Gpu;

// Free ranges of [0, size): the smallest that fits is taken, neighbours join when they are freed.
class RangeAllocator {
 public:
  explicit RangeAllocator(uint64_t size) : size_(size) { free_[0] = size; }
  std::optional<uint64_t> allocate(uint64_t size, uint64_t alignment);
  void release(uint64_t offset, uint64_t size);
  bool empty() const { return free_.size() == 1 && free_.begin()->second == size_; }

 private:
  uint64_t size_;
  std::map<uint64_t, uint64_t> free_;  // size by offset
};

struct MemoryBlock {
  VkDeviceMemory memory = VK_NULL_HANDLE;
  uint32_t type = 0;
  uint64_t size = 0;
  uint8_t* mapped = nullptr;
  RangeAllocator ranges;
};

struct MemoryPart {
  MemoryBlock* block = nullptr;
  uint64_t offset = 0, size = 0;
};

class Memory {
 public:
  explicit Memory(Gpu& gpu);
  ~Memory();
  // Fails with VKMOE_ERROR_OUT_OF_MEMORY.
  MemoryPart allocate(const VkMemoryRequirements& needs, MemoryUse use, const std::string& name);
  void release(const MemoryPart& part);
  bool cached(const MemoryPart& part) const;

 private:
  std::vector<uint32_t> types_for(MemoryUse use, uint32_t allowed_bits) const;
  MemoryBlock* new_block(uint32_t type, uint64_t size);
  bool take(MemoryBlock& block, const VkMemoryRequirements& needs, MemoryPart* part);
  uint64_t available(uint32_t heap) const;

  Gpu& gpu_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<MemoryBlock>> blocks_;
  uint64_t heap_used_[VK_MAX_MEMORY_HEAPS] = {};
};

struct BufferImpl {
  std::shared_ptr<Gpu> gpu;
  std::string name;
  uint64_t size = 0;
  VkBuffer handle = VK_NULL_HANDLE;
  MemoryPart memory;
  void* mapped = nullptr;
  bool host_cached = false;
  ~BufferImpl();
};

Buffer make_buffer(const std::shared_ptr<Gpu>& gpu, uint64_t size_bytes, MemoryUse use, const std::string& name);

}  // namespace vkmoe
