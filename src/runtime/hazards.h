// Which bytes were read and written since the last barrier; says when the next access has to wait for them.
#pragma once
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace vkmoe {

struct Access {
  const void* buffer;  // any key that stands for the buffer
  uint64_t offset, size;
  bool reads, writes;
};

class HazardTracker {
 public:
  // Read after write, write after read or write after write on the same bytes.
  bool conflicts(const std::vector<Access>& accesses) const {
    for (const Access& access : accesses) {
      auto found = ranges_.find(access.buffer);
      if (found == ranges_.end()) continue;
      for (const Access& earlier : found->second) {
        bool overlap = earlier.offset < access.offset + access.size && access.offset < earlier.offset + earlier.size;
        if (overlap && (earlier.writes || access.writes)) return true;
      }
    }
    return false;
  }

  void add(const std::vector<Access>& accesses) {
    for (const Access& access : accesses) ranges_[access.buffer].push_back(access);
  }

  void clear() { ranges_.clear(); }

 private:
  std::unordered_map<const void*, std::vector<Access>> ranges_;
};

}  // namespace vkmoe
