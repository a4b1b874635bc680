// The state of a Recording; used by recording.cpp and by Device::submit.
#pragma once
#include <map>
#include <set>

#include "runtime/device_impl.h"
#include "runtime/hazards.h"
#include "runtime/kernel.h"
#include "runtime/recording.h"

namespace vkmoe {

// Everything of this queue's earlier and later commands. One dependency serves all: commands read and write buffers
// in compute shaders, in copies and as dispatch arguments, nothing else.
constexpr VkPipelineStageFlags kWorkStages =
    VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_DRAW_INDIRECT_BIT;
constexpr VkAccessFlags kWorkWrites = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
constexpr VkAccessFlags kWorkAccess =
    kWorkWrites | VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_INDIRECT_COMMAND_READ_BIT;

inline void memory_barrier(VkCommandBuffer commands, VkPipelineStageFlags from, VkAccessFlags writes,
                           VkPipelineStageFlags to, VkAccessFlags access) {
  VkMemoryBarrier barrier = {VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, writes, access};
  vkCmdPipelineBarrier(commands, from, to, 0, 1, &barrier, 0, nullptr, 0, nullptr);
}

// Timestamps in as many pools as it takes.
struct Timestamps {
  static constexpr uint32_t kPoolSize = 1024;
  std::vector<VkQueryPool> pools;
  uint32_t count = 0;
};

struct RecordingImpl {
  std::shared_ptr<Gpu> gpu;
  std::shared_ptr<WorkNotes> notes = std::make_shared<WorkNotes>();
  KernelStore* kernels = nullptr;
  bool kernels_only = false, profile = false, ended = false;
  uint64_t dispatches = 0, barriers = 0, last_ticket = 0;
  VkCommandPool pool = VK_NULL_HANDLE;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  // What end() writes to the command buffer: binding a pipeline takes one that is compiled.
  std::vector<std::function<void(VkCommandBuffer)>> steps;
  std::set<const Kernel*> used_kernels;

  HazardTracker hazards;
  VkPipelineStageFlags stages_since_barrier = 0;
  std::set<std::shared_ptr<BufferImpl>> buffers;  // kept alive
  std::vector<VkDescriptorPool> descriptor_pools;
  // By layout, then (buffer, offset, size, texels) of each binding.
  std::map<std::vector<uint64_t>, VkDescriptorSet> sets;
  std::map<std::vector<uint64_t>, VkBufferView> texel_views;  // by buffer, offset, size, texels
  const Kernel* bound_kernel = nullptr;

  Timestamps timestamps;
  struct Timed {
    std::string what;  // ran before timestamp i + 1; empty: for the profile's own sake
    Recording::CountWork work;
  };
  std::vector<Timed> timed;
  Recording::CountWork noted;    // of the next dispatch
  std::vector<Buffer> watched;

  ~RecordingImpl();
  void check_open(const std::string& what) const;
  void add_barrier(VkPipelineStageFlags from, VkAccessFlags writes, VkPipelineStageFlags to, VkAccessFlags access);
  void order(const std::vector<Access>& accesses, VkPipelineStageFlags stages);
  void prepare(const Kernel& kernel, const std::vector<BufferView>& bindings, const void* push, uint32_t push_bytes,
               const BufferView* groups);
  VkDescriptorSet descriptor_set(const Kernel& kernel, const std::vector<BufferView>& bindings);
  VkDescriptorSet allocate_set(VkDescriptorSetLayout layout, uint32_t bindings);
  VkBufferView texel_view(const BufferView& view);
  void write_timestamp();
  void after(const std::string& what);
};

}  // namespace vkmoe
