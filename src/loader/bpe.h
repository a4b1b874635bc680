// Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) over bytes, as GPT-2 introduced it, or over characters, as
// SentencePiece does it.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "loader/word_model.h"

namespace vkmoe {

struct BpeParts {
  std::string origin;  // file, for messages
  bool bytes = false;  // begins with bytes, of which each has a token; otherwise with characters
  // Best first; spelled as the tokens. Without `by_score` these say what is merged in which order.
  std::vector<std::pair<std::string, std::string>> merges;
  bool by_score = false;             // neighbours merge into any token, those with the highest score first
  bool ignore_merges = false;        // a word that is a token is not merged
  bool whole_newlines = false;       // so is one of newlines alone
  bool skip_unknown_merges = false;  // merges of texts outside of the vocabulary do nothing, as in llama.cpp
  std::vector<int32_t> isolated;     // tokens that are found in words and kept whole (user-defined symbols)
  Fallback fallback;                 // of characters
};

class BpeModel : public WordModel {
 public:
  // Fails with VKMOE_ERROR_BAD_FILE where merges and vocabulary contradict each other.
  BpeModel(const std::vector<Token>& tokens, BpeParts&& parts);
  void encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const override;

 private:
  static constexpr int32_t no_token = -1;
  struct Scratch;

  void add_vocabulary(const std::vector<Token>& tokens);
  void add_merges(const std::vector<Token>& tokens, BpeParts& parts);
  void add_score_merges(const std::vector<Token>& tokens);
  int32_t char_id(std::string_view c) const;
  void first_symbols(std::string_view part, Scratch& scratch) const;
  void encode_part(std::string_view part, size_t begin, std::vector<int32_t>& ids) const;
  void encode_chars(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const;

  std::string origin_;
  std::unordered_map<std::string, int32_t> ids_;  // normal tokens
  std::array<int32_t, 256> byte_ids_;             // tokens of single bytes, or of ASCII characters
  // Tokens of single characters; from unnamed_ on: characters without a token that merge into one.
  std::unordered_map<std::string, int32_t> char_ids_;
  int32_t unnamed_;
  PairMap merges_;  // (left id, right id) -> rank, joint id
  Fallback fallback_;
  Neighbours neighbours_;  // of characters
  Trie isolated_;
  bool bytes_, ignore_merges_, whole_newlines_;
};

}  // namespace vkmoe
