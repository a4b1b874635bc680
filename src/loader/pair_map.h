// Hash tables of the tokenizers: from a pair of numbers to a pair of numbers, and a trie over bytes made of one.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace vkmoe {

// Open addressing; grows as it is filled. Keys are pairs of ids, of which no half is UINT32_MAX.
class PairMap {
 public:
  struct Value {
    uint32_t first, second;
  };

  // false: the key was there, and keeps its value.
  bool insert(uint32_t left, uint32_t right, Value value) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[find_slot(key_of(left, right))];
    if (slot.key != empty) return false;
    slot = {key_of(left, right), value};
    count_++;
    return true;
  }

  // nullptr where it is missing.
  const Value* find(uint32_t left, uint32_t right) const {
    if (slots_.empty()) return nullptr;
    const Slot& slot = slots_[find_slot(key_of(left, right))];
    return slot.key == empty ? nullptr : &slot.value;
  }

 private:
  static constexpr uint64_t empty = UINT64_MAX;
  struct Slot {
    uint64_t key = empty;
    Value value{};
  };

  static uint64_t key_of(uint32_t left, uint32_t right) { return uint64_t(left) << 32 | right; }
  size_t find_slot(uint64_t key) const {
    size_t i = size_t(key * 0x9e3779b97f4a7c15u >> shift_);
    while (slots_[i].key != key && slots_[i].key != empty) i = (i + 1) & (slots_.size() - 1);
    return i;
  }
  void grow() {
    std::vector<Slot> old(slots_.empty() ? 16 : 2 * slots_.size());
    old.swap(slots_);
    shift_ = old.empty() ? 60 : shift_ - 1;
    for (const Slot& slot : old)
      if (slot.key != empty) slots_[find_slot(slot.key)] = slot;
  }

  std::vector<Slot> slots_;
  size_t count_ = 0;
  int shift_ = 60;
};

// Texts as a trie over bytes, an id each.
class Trie {
 public:
  void add(std::string_view text, int32_t id) {
    uint32_t node = 0;
    for (char c : text) {
      uint32_t next = uint32_t(ids_.size());
      if (edges_.insert(node, uint8_t(c), {next, 0})) {
        ids_.push_back(-1);
        node = next;
      } else {
        node = edges_.find(node, uint8_t(c))->first;
      }
    }
    ids_[node] = id;
    first_[uint8_t(text[0])] = true;
  }

  // Calls on_match(id, length) for every text that `text` starts with, shortest first.
  template <class OnMatch>
  void prefixes(std::string_view text, const OnMatch& on_match) const {
    if (text.empty() || !first_[uint8_t(text[0])]) return;
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); i++) {
      const PairMap::Value* edge = edges_.find(node, uint8_t(text[i]));
      if (!edge) return;
      node = edge->first;
      if (ids_[node] >= 0) on_match(ids_[node], i + 1);
    }
  }

  bool empty() const { return ids_.size() == 1; }

 private:
  PairMap edges_;                // (node, byte) -> node
  std::vector<int32_t> ids_{-1};  // by node
  std::array<bool, 256> first_{};
};

}  // namespace vkmoe
