// What turns one word into token ids: BPE, unigram or WordPiece. A Tokenizer holds one. Models read the vocabulary's
// tokens, whose `text` is by then what the model works on.
#pragma once
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "loader/pair_map.h"
#include "loader/utf8.h"

namespace vkmoe {

enum class TokenKind : uint8_t {
  missing,  // an id that the vocabulary leaves out
  normal,
  added,    // plain text that is always looked for
  control,  // plain text that is looked for only where special tokens are parsed
  byte,     // "<0x0A>": stands for one byte, where no other token can
};

struct Token {
  std::string text;   // as the vocabulary spells it; a byte-level vocabulary's as bytes
  TokenKind kind = TokenKind::missing;
  bool left_strip = false, right_strip = false;  // takes in the white space on this side
  bool normalized = false;                       // looked for after normalization
  bool single_word = false;                      // only where no letter or digit touches it
  bool unused = false;                           // in the vocabulary, but never the result
  double score = 0;
};

// The value of a token such as "<0x0A>", or -1.
inline int byte_token_value(std::string_view text) {
  auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
  int high = digit(text[3]), low = digit(text[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// What a vocabulary gives for text that it has no token for.
struct Fallback {
  std::array<int32_t, 256> bytes;  // a token per byte; -1: none, and `unknown` stands for the whole
  int32_t unknown = -1;            // -1: nothing
  bool has_bytes = false;
  bool fuse = true;  // unknowns side by side are one

  Fallback() { bytes.fill(-1); }
  void find_bytes(const std::vector<Token>& tokens) {
    has_bytes = true;
    for (size_t id = 0; id < tokens.size(); id++)
      if (int value = byte_token_value(tokens[id].text); value >= 0) bytes[size_t(value)] = int32_t(id);
    for (int32_t id : bytes) has_bytes = has_bytes && id >= 0;
  }
  // `begin`: where the ids of this word begin.
  void append(std::string_view text, size_t begin, std::vector<int32_t>& ids) const {
    if (has_bytes) {
      for (char c : text) ids.push_back(bytes[uint8_t(c)]);
    } else if (unknown >= 0 && !(fuse && ids.size() > begin && ids.back() == unknown)) {
      ids.push_back(unknown);
    }
  }
};

// Which characters stand side by side in some token. Text may be cut between any others: no token spans the cut, so
// BPE and unigram give the same result for the parts as for the whole. A hash may answer yes too often, never no.
class Neighbours {
 public:
  Neighbours() : bits_(size_t(1) << (log2_bits - 6)) {}
  void add(std::string_view token);
  bool may_join(uint32_t left, uint32_t right) const {
    uint64_t h = hash(left, right);
    return bits_[h >> 6] >> (h & 63) & 1;
  }
  // Calls on_part for each part of the text; a byte that is no UTF-8 is a part.
  template <class OnPart>
  void split(std::string_view text, const OnPart& on_part) const {
    size_t begin = 0, at = 0;
    uint32_t before = 0;
    while (at < text.size()) {
      uint32_t c = uint8_t(text[at]);
      int length = c < 0x80 ? 1 : utf8_char(text.substr(at), &c);
      if (length <= 0) length = 1, c = 0xdc00 + uint8_t(text[at]);  // no character that a token could have
      if (at > begin && !may_join(before, c)) {
        on_part(text.substr(begin, at - begin));
        begin = at;
      }
      before = c;
      at += size_t(length);
    }
    if (begin < text.size()) on_part(text.substr(begin));
  }

 private:
  static constexpr int log2_bits = 20;
  static uint64_t hash(uint32_t left, uint32_t right) {
    return ((uint64_t(left) << 32 | right) * 0x9e3779b97f4a7c15u) >> (64 - log2_bits);
  }
  std::vector<uint64_t> bits_;
};

// Remembers where in the ids of one text a word's ids stand, so that words seen before are copied.
class WordCache {
 public:
  static constexpr size_t max_bytes = 48;
  explicit WordCache(size_t text_bytes) : slots_(std::min<size_t>(text_bytes / 4 + 64, 1 << 14)) {}

  // Appends the word's ids, made by make() or copied.
  template <class Make>
  void append(std::string_view word, std::vector<int32_t>& ids, const Make& make) {
    if (word.size() > max_bytes) return make();
    uint64_t h = word.size() * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < word.size(); i += 8) {
      uint64_t bytes = 0;
      std::memcpy(&bytes, word.data() + i, std::min<size_t>(8, word.size() - i));
      h = (h ^ bytes) * 0xff51afd7ed558ccdu;
      h ^= h >> 32;
    }
    Slot& slot = slots_[h % slots_.size()];
    size_t begin = ids.size();
    if (slot.word == word && slot.word.data()) {
      for (uint32_t i = 0; i < slot.count; i++) ids.push_back(ids[slot.begin + i]);
      return;
    }
    make();
    slot = {word, uint32_t(begin), uint32_t(ids.size() - begin)};
  }

 private:
  struct Slot {
    std::string_view word;  // lives as long as the text
    uint32_t begin = 0, count = 0;
  };
  std::vector<Slot> slots_;
};

class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the ids of a word, any bytes. The cache is that of one text.
  virtual void encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const = 0;
};

}  // namespace vkmoe
