// WordPiece, BERT's model: the longest token that a word starts with, again and again.
#pragma once
#include "loader/word_model.h"

namespace vkmoe {

class WordPieceModel : public WordModel {
 public:
  // begins: by id, whether a token begins a word or continues one; texts are without the mark of either. A word of more
  // than max_chars characters, or with a part that no token matches, is unknown as a whole.
  WordPieceModel(const std::vector<Token>& tokens, const std::vector<bool>& begins, int32_t unknown, size_t max_chars);
  void encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const override;

 private:
  Trie begins_, continues_;
  int32_t unknown_;
  size_t max_chars_;
};

}  // namespace vkmoe
