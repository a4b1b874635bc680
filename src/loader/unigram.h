// SentencePiece's unigram model: the most likely way to cut a word into tokens (Kudo 2018, arXiv:1804.10959), by Viterbi.
#pragma once
#include "loader/word_model.h"

namespace vkmoe {

class UnigramModel : public WordModel {
 public:
  // tokens: those that may come out, with scores (log probabilities) of theirs; others are -infinity. unknown_score is
  // that of a character without a token.
  UnigramModel(const std::vector<std::string_view>& texts, std::vector<double> scores, Fallback fallback,
               double unknown_score);
  void encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const override;

 private:
  void encode_part(std::string_view part, size_t begin, std::vector<int32_t>& ids) const;
  Trie trie_;
  std::vector<double> scores_;
  Fallback fallback_;
  double unknown_score_;
  Neighbours neighbours_;
};

}  // namespace vkmoe
