// Byte-level byte-pair encoding, as GPT-2 introduced it. Filled by tokenizer_json.cpp and tokenizer_gguf.cpp.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "loader/pre_tokenizer.h"
#include "loader/tokenizer.h"

namespace vkmoe {

enum class TokenKind : uint8_t {
  missing,  // an id that the vocabulary leaves out
  normal,   // text is written in byte-level characters
  added,    // plain text that is always looked for
  control,  // plain text that is looked for only where special tokens are parsed
};

struct Token {
  std::string text;
  TokenKind kind = TokenKind::missing;
  bool left_strip = false, right_strip = false;  // takes in the white space on this side
  bool normalized = false;                       // looked for after normalization
};

// What a tokenizer's file says, in its own spelling.
struct BpeParts {
  std::string origin;  // file, for messages
  std::vector<Token> tokens;
  std::vector<std::pair<std::string_view, std::string_view>> merges;  // best first; the file's texts, not owned
  PreTokenizer pre_tokenizer;
  bool ignore_merges = false;  // a word that is a token is not merged
  bool skip_unknown_merges = false;  // merges of texts outside of the vocabulary do nothing, as in llama.cpp
  bool nfc = false;            // text is brought into Unicode's normalization form C
};

class BpeTokenizer : public Tokenizer {
 public:
  // Fails with VKMOE_ERROR_BAD_FILE where merges and vocabulary contradict each other.
  explicit BpeTokenizer(BpeParts&& parts);

  std::vector<int32_t> encode(std::string_view text, bool parse_special) const override;
  std::string token_bytes(int32_t id, bool special) const override;
  uint32_t vocab_size() const override { return uint32_t(tokens_.size()); }

 private:
  struct Scratch;

  // Added tokens as a trie over bytes; one for those looked for before, one for those after normalization.
  class Trie {
   public:
    void add(std::string_view text, int32_t id);
    // The longest token at the start of `text` that `wanted` allows, or -1.
    template <class Wanted>
    int32_t find(std::string_view text, const Wanted& wanted) const;
    bool empty() const { return ids_.size() == 1; }

   private:
    std::unordered_map<uint64_t, uint32_t> edges_;  // node << 8 | byte -> node
    std::vector<int32_t> ids_{-1};                  // by node
    std::array<bool, 256> first_{};
  };

  // An open-addressing map from (left id, right id) to the merge's rank.
  class PairMap {
   public:
    void reserve(size_t count);
    bool insert(int32_t left, int32_t right, uint32_t rank);  // false: was there
    uint32_t find(int32_t left, int32_t right) const;         // `none` if missing
    static constexpr uint32_t none = UINT32_MAX;

   private:
    struct Slot {
      uint64_t key = UINT64_MAX;
      uint32_t rank = none;
    };
    size_t start(uint64_t key) const { return size_t(key * 0x9e3779b97f4a7c15u >> shift_); }
    std::vector<Slot> slots_;
    int shift_ = 63;
  };

  template <class OnText>
  void split_added(const Trie& trie, std::string_view text, bool parse_special, std::vector<int32_t>& ids,
                   const OnText& on_text) const;
  void encode_plain(std::string_view text, Scratch& scratch, std::vector<int32_t>& ids) const;
  void encode_word(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;

  std::string origin_;
  std::vector<Token> tokens_;  // text of normal tokens: their bytes
  std::unordered_map<std::string_view, int32_t> ids_;  // normal tokens by their bytes; keys point into tokens_
  std::array<int32_t, 256> byte_ids_;
  PairMap ranks_;
  std::vector<int32_t> results_;  // by rank
  PreTokenizer pre_tokenizer_;
  Trie raw_added_, normalized_added_;
  bool ignore_merges_, nfc_;
};

}  // namespace vkmoe
