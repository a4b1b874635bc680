#include "runtime/upload.h"

#include <algorithm>
#include <cstring>

#include "base/numeric.h"
#include "runtime/recording_impl.h"

namespace vkmoe {
namespace {

constexpr uint64_t kStagingBytes = 16 << 20;
// Mapped memory that the host does not cache is slow to read: more than this goes through a cached buffer.
constexpr uint64_t kMostUncachedBytes = 1024;

Work notes(const char* name) {
  auto notes = std::make_shared<WorkNotes>();
  notes->name = name;
  return notes;
}

}  // namespace

Transfers::~Transfers() {
  if (pool_) vkDestroyCommandPool(gpu_->device, pool_, nullptr);
}

VkCommandBuffer Transfers::begin(VkCommandBuffer& commands) {
  if (!pool_) {
    VkCommandPoolCreateInfo info = {VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    info.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
    info.queueFamilyIndex = gpu_->physical.queue_family;
    check(vkCreateCommandPool(gpu_->device, &info, nullptr, &pool_), "vkCreateCommandPool");
  }
  if (!commands) {
    VkCommandBufferAllocateInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
    info.commandPool = pool_;
    info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    info.commandBufferCount = 1;
    check(vkAllocateCommandBuffers(gpu_->device, &info, &commands), "vkAllocateCommandBuffers");
  }
  VkCommandBufferBeginInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  info.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  check(vkBeginCommandBuffer(commands, &info), "vkBeginCommandBuffer");
  memory_barrier(commands, kWorkStages, kWorkWrites, VK_PIPELINE_STAGE_TRANSFER_BIT,
                 VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
  return commands;
}

Transfers::Slot& Transfers::open_slot() {
  if (slots_[current_].ended) flush();  // a submission failed
  Slot& slot = slots_[current_];
  if (slot.open) return slot;
  if (!slot.staging) slot.staging = make_buffer(gpu_, kStagingBytes, MemoryUse::upload, "staging");
  gpu_->queue->wait(slot.ticket);
  slot.targets.clear();
  slot.hazards.clear();
  slot.used = 0;
  begin(slot.commands);
  slot.open = true;
  return slot;
}

void Transfers::upload(const Buffer& to, uint64_t offset, uint64_t size, const Device::Fill& fill) {
  if (!to) fail(VKMOE_ERROR_INTERNAL, "upload: no buffer");
  if (offset > to.size() || size > to.size() - offset) {
    fail(VKMOE_ERROR_INTERNAL, "upload: range [", offset, ", +", size, ") lies outside of buffer '", to.name(),
         "' of ", to.size(), " bytes");
  }
  // The device may still be at work on what a direct write would change.
  if (to.mapped() && size) wait_idle();
  for (uint64_t at = 0; at < size;) {
    uint64_t count = std::min(size - at, kStagingBytes);
    if (to.mapped()) {
      fill(at, count, static_cast<uint8_t*>(to.mapped()) + offset + at);
    } else {
      Slot& slot = open_slot();
      count = std::min(count, kStagingBytes - slot.used);
      fill(at, count, static_cast<uint8_t*>(slot.staging.mapped()) + slot.used);
      std::vector<Access> target = {{to.impl_.get(), offset + at, count, false, true}};
      if (slot.hazards.conflicts(target)) {
        memory_barrier(slot.commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_WRITE_BIT,
                       VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_WRITE_BIT);
        slot.hazards.clear();
      }
      slot.hazards.add(target);
      VkBufferCopy region = {slot.used, offset + at, count};
      vkCmdCopyBuffer(slot.commands, slot.staging.impl_->handle, to.impl_->handle, 1, &region);
      if (slot.targets.empty() || slot.targets.back().impl_ != to.impl_) slot.targets.push_back(to);
      slot.used += round_up(count, 16);
      if (slot.used == kStagingBytes) flush();
    }
    at += count;
    gpu_->counters.bytes_uploaded += count;
  }
}

std::optional<Queue::Item> Transfers::take_pending() {
  Slot& slot = slots_[current_];
  if (!slot.open) return std::nullopt;
  if (!slot.ended) check(vkEndCommandBuffer(slot.commands), "vkEndCommandBuffer");
  slot.ended = true;
  static const Work upload_notes = notes("upload");
  return Queue::Item{slot.commands, upload_notes};
}

void Transfers::submitted(uint64_t ticket) {
  Slot& slot = slots_[current_];
  if (!slot.ended) return;
  slot.open = slot.ended = false;
  slot.ticket = ticket;
  current_ ^= 1;
}

void Transfers::flush() {
  if (auto pending = take_pending()) submitted(gpu_->queue->submit({*pending}));
}

void Transfers::wait_idle() {
  flush();
  gpu_->queue->wait_idle();
  for (Slot& slot : slots_) slot.targets.clear();
}

void Transfers::read_back(const Buffer& from, uint64_t offset, void* out, uint64_t size) {
  if (!from) fail(VKMOE_ERROR_INTERNAL, "read_back: no buffer");
  if (offset > from.size() || size > from.size() - offset) {
    fail(VKMOE_ERROR_INTERNAL, "read_back: range [", offset, ", +", size, ") lies outside of buffer '", from.name(),
         "' of ", from.size(), " bytes");
  }
  wait_idle();
  gpu_->counters.bytes_read_back += size;
  if (from.mapped() && (from.impl_->host_cached || size <= kMostUncachedBytes)) {
    std::memcpy(out, static_cast<const uint8_t*>(from.mapped()) + offset, size);
    return;
  }
  static const Work read_back_notes = notes("read back");
  for (uint64_t at = 0; at < size;) {
    uint64_t count = std::min(size - at, kStagingBytes);
    if (!readback_ || readback_.size() < count) {
      readback_ = make_buffer(gpu_, std::max<uint64_t>(count, 64 << 10), MemoryUse::readback, "read back");
    }
    VkCommandBuffer commands = begin(readback_commands_);
    VkBufferCopy region = {offset + at, 0, count};
    vkCmdCopyBuffer(commands, from.impl_->handle, readback_.impl_->handle, 1, &region);
    memory_barrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_WRITE_BIT, VK_PIPELINE_STAGE_HOST_BIT,
                   VK_ACCESS_HOST_READ_BIT);
    check(vkEndCommandBuffer(commands), "vkEndCommandBuffer");
    gpu_->queue->wait(gpu_->queue->submit({{commands, read_back_notes}}));
    std::memcpy(static_cast<uint8_t*>(out) + at, readback_.mapped(), count);
    at += count;
  }
}

}  // namespace vkmoe
