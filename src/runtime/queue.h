// Submission in order, tickets, and what to say when the device is lost.
#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/memory.h"
#include "runtime/vk.h"

namespace vkmoe {

struct Gpu;

// What a command buffer holds, for the message when the device is lost.
struct WorkNotes {
  uint32_t id = 0;  // of Queue::next_id(), unique among the work in flight
  std::string name;
  std::vector<std::string> kernels;  // labels, in order of dispatch
};
using Work = std::shared_ptr<const WorkNotes>;

// The dispatch that the device is known to have begun last.
struct ProgressMark {
  uint32_t id = 0, dispatch = 0;
};

// in_flight: what was submitted and is not known to be finished, oldest first.
std::string lost_message(const std::string& call, const std::vector<Work>& in_flight,
                         const std::optional<ProgressMark>& mark);

class Queue {
 public:
  explicit Queue(Gpu& gpu);
  ~Queue();

  struct Item {
    VkCommandBuffer commands;
    Work work;
  };
  uint64_t submit(const std::vector<Item>& items);
  void wait(uint64_t ticket);
  bool finished(uint64_t ticket);
  void wait_idle() { wait(last_ticket_); }
  bool idle() const { return in_flight_.empty(); }
  uint64_t last_ticket() const { return last_ticket_; }

  uint32_t next_id() { return next_id_ = next_id_ % 0xffff + 1; }  // never 0
  // Marks a dispatch that comes next in a command buffer, where the device has an extension for that.
  void mark(VkCommandBuffer commands, const WorkNotes& work, uint32_t dispatch);

 private:
  struct Submission {
    uint64_t ticket;
    VkFence fence;
    std::vector<Work> works;
  };
  VkFence take_fence();
  void retire(size_t count);
  void create_mark_buffer();
  std::optional<ProgressMark> read_mark() const;
  void check_alive(VkResult result, const char* call);

  Gpu& gpu_;
  VkQueue queue_ = VK_NULL_HANDLE;
  std::deque<Submission> in_flight_;
  std::vector<VkFence> free_fences_;
  uint64_t last_ticket_ = 0, finished_ticket_ = 0;
  uint32_t next_id_ = 0;
  bool lost_ = false;
  VkBuffer mark_buffer_ = VK_NULL_HANDLE;
  MemoryPart mark_memory_;
};

}  // namespace vkmoe
