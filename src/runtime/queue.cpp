#include "runtime/queue.h"

#include <cstring>

#include "runtime/gpu.h"

namespace vkmoe {

std::string lost_message(const std::string& call, const std::vector<Work>& in_flight,
                         const std::optional<ProgressMark>& mark) {
  std::string message = call + ": the device was lost";
  if (mark) {
    for (const Work& work : in_flight) {
      if (work->id != mark->id || mark->dispatch >= work->kernels.size()) continue;
      return cat(message, "; the last kernel known to have started is ", work->kernels[mark->dispatch], ", dispatch ",
                 mark->dispatch + 1, " of ", work->kernels.size(), " of '", work->name, "'");
    }
  }
  if (in_flight.empty()) return message + "; no work was in flight";
  const WorkNotes& oldest = *in_flight.front();
  message = cat(message, " in '", oldest.name, "'");
  if (in_flight.size() > 1) message = cat(message, " or one of ", in_flight.size() - 1, " submitted after it");
  if (!oldest.kernels.empty()) {
    message = cat(message, "; its ", oldest.kernels.size(), " dispatches go from ", oldest.kernels.front(), " to ",
                  oldest.kernels.back());
  }
  return message;
}

Queue::Queue(Gpu& gpu) : gpu_(gpu) {
  vkGetDeviceQueue(gpu.device, gpu.physical.queue_family, 0, &queue_);
  if (gpu.buffer_marker) create_mark_buffer();
}

Queue::~Queue() {
  for (auto& submission : in_flight_) vkDestroyFence(gpu_.device, submission.fence, nullptr);
  for (VkFence fence : free_fences_) vkDestroyFence(gpu_.device, fence, nullptr);
  if (mark_buffer_) vkDestroyBuffer(gpu_.device, mark_buffer_, nullptr);
  if (mark_memory_.block) gpu_.memory->release(mark_memory_);
}

VkFence Queue::take_fence() {
  if (!free_fences_.empty()) {
    VkFence fence = free_fences_.back();
    free_fences_.pop_back();
    return fence;
  }
  VkFence fence;
  VkFenceCreateInfo info = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  check(vkCreateFence(gpu_.device, &info, nullptr, &fence), "vkCreateFence");
  return fence;
}

uint64_t Queue::submit(const std::vector<Item>& items) {
  Submission submission = {last_ticket_ + 1, take_fence(), {}};
  std::vector<VkCommandBuffer> commands;
  for (const Item& item : items) {
    commands.push_back(item.commands);
    submission.works.push_back(item.work);
  }
  VkSubmitInfo info = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
  info.commandBufferCount = uint32_t(commands.size());
  info.pCommandBuffers = commands.data();
  VkResult result = lost_ ? VK_ERROR_DEVICE_LOST : vkQueueSubmit(queue_, 1, &info, submission.fence);
  if (result != VK_SUCCESS) {
    free_fences_.push_back(submission.fence);
    check_alive(result, "vkQueueSubmit");
  }
  in_flight_.push_back(std::move(submission));
  gpu_.counters.submits++;
  return ++last_ticket_;
}

// Fences of one queue are signalled in order: all submissions before a finished one are finished too.
void Queue::retire(size_t count) {
  std::vector<VkFence> fences;
  for (size_t i = 0; i < count; i++) fences.push_back(in_flight_[i].fence);
  finished_ticket_ = in_flight_[count - 1].ticket;
  in_flight_.erase(in_flight_.begin(), in_flight_.begin() + ptrdiff_t(count));
  free_fences_.insert(free_fences_.end(), fences.begin(), fences.end());
  check(vkResetFences(gpu_.device, uint32_t(fences.size()), fences.data()), "vkResetFences");
}

void Queue::wait(uint64_t ticket) {
  if (ticket > last_ticket_) fail(VKMOE_ERROR_INTERNAL, "ticket ", ticket, " was never given out");
  size_t count = 0;
  while (count < in_flight_.size() && in_flight_[count].ticket <= ticket) count++;
  if (count == 0) return;
  VkFence fence = in_flight_[count - 1].fence;
  if (lost_) check_alive(VK_ERROR_DEVICE_LOST, "vkWaitForFences");
  check_alive(vkWaitForFences(gpu_.device, 1, &fence, VK_TRUE, UINT64_MAX), "vkWaitForFences");
  retire(count);
}

bool Queue::finished(uint64_t ticket) {
  if (ticket > last_ticket_) fail(VKMOE_ERROR_INTERNAL, "ticket ", ticket, " was never given out");
  size_t done = 0;
  for (size_t i = 0; i < in_flight_.size(); i++) {
    VkResult result = vkGetFenceStatus(gpu_.device, in_flight_[i].fence);
    check_alive(result, "vkGetFenceStatus");
    if (result != VK_SUCCESS) break;
    done = i + 1;
  }
  if (done) retire(done);
  return ticket <= finished_ticket_;
}

void Queue::create_mark_buffer() {
  VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = 16;
  info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  check(vkCreateBuffer(gpu_.device, &info, nullptr, &mark_buffer_), "vkCreateBuffer");
  VkMemoryRequirements needs;
  vkGetBufferMemoryRequirements(gpu_.device, mark_buffer_, &needs);
  mark_memory_ = gpu_.memory->allocate(needs, MemoryUse::readback, "progress marks");
  std::memset(mark_memory_.block->mapped + mark_memory_.offset, 0, 4);
  check(vkBindBufferMemory(gpu_.device, mark_buffer_, mark_memory_.block->memory, mark_memory_.offset),
        "vkBindBufferMemory");
}

// One number says both, so that no torn pair can be read: the work's id above, the dispatch below.
void Queue::mark(VkCommandBuffer commands, const WorkNotes& work, uint32_t dispatch) {
  uint32_t value = work.id << 16 | (dispatch & 0xffff);
  if (mark_buffer_) {
    vkCmdWriteBufferMarkerAMD(commands, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, mark_buffer_, 0, value);
  } else if (gpu_.checkpoints) {
    vkCmdSetCheckpointNV(commands, reinterpret_cast<const void*>(uintptr_t(value)));
  }
}

std::optional<ProgressMark> Queue::read_mark() const {
  uint32_t value = 0;
  if (mark_buffer_) {
    std::memcpy(&value, mark_memory_.block->mapped + mark_memory_.offset, 4);
  } else if (gpu_.checkpoints) {
    uint32_t count = 0;
    vkGetQueueCheckpointDataNV(queue_, &count, nullptr);
    std::vector<VkCheckpointDataNV> checkpoints(count, {VK_STRUCTURE_TYPE_CHECKPOINT_DATA_NV});
    vkGetQueueCheckpointDataNV(queue_, &count, checkpoints.data());
    for (const auto& checkpoint : checkpoints) {
      if (checkpoint.stage != VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT) continue;
      value = uint32_t(reinterpret_cast<uintptr_t>(checkpoint.pCheckpointMarker));
    }
  }
  if (value == 0) return std::nullopt;
  return ProgressMark{value >> 16, value & 0xffff};
}

void Queue::check_alive(VkResult result, const char* call) {
  if (result != VK_ERROR_DEVICE_LOST) return check(result, call);
  lost_ = true;  // drivers differ in what they answer after the first time
  std::vector<Work> works;
  for (const Submission& submission : in_flight_) {
    if (vkGetFenceStatus(gpu_.device, submission.fence) == VK_SUCCESS) continue;
    works.insert(works.end(), submission.works.begin(), submission.works.end());
  }
  throw Error(VKMOE_ERROR_DEVICE_LOST, lost_message(call, works, read_mark()));
}

}  // namespace vkmoe
