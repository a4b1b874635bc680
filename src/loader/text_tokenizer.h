// A tokenizer as its parts: added tokens, normalizer, pre-tokenizer, model. Filled by tokenizer_json.cpp,
// tokenizer_gguf.cpp and sentencepiece.cpp.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "loader/bpe.h"
#include "loader/normalizer.h"
#include "loader/pre_tokenizer.h"
#include "loader/tokenizer.h"
#include "loader/word_model.h"

namespace vkmoe {

struct TokenizerParts {
  std::string origin;  // file, for messages
  std::vector<Token> tokens;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::unique_ptr<WordModel> model;
  bool byte_level = false;         // tokens' texts are byte-level characters
  bool find_added = true;          // added tokens are looked for in the text before everything else
  bool space_symbol = false;       // U+2581 in a token is a space
  bool strip_first_space = false;  // the text of ids begins without the space that the normalizer has put there
};

// Turns texts of normal tokens in byte-level characters into their bytes. Those that stand for no bytes cannot come out
// of a text; they become `missing` and keep their text.
void decode_byte_level(std::vector<Token>& tokens);

class TextTokenizer : public Tokenizer {
 public:
  explicit TextTokenizer(TokenizerParts&& parts);

  std::vector<int32_t> encode(std::string_view text, bool parse_special) const override;
  std::string token_bytes(int32_t id, bool special) const override;
  std::string decode(const std::vector<int32_t>& ids, bool special) const override;
  uint32_t vocab_size() const override { return uint32_t(tokens_.size()); }
  const PreTokenizer& pre_tokenizer() const { return pre_tokenizer_; }
  const std::vector<Token>& tokens() const { return tokens_; }

 private:
  struct Call;
  template <class OnText>
  void split_added(const Trie& trie, std::string_view text, bool first, Call& call, const OnText& on_text) const;
  void encode_plain(std::string_view text, bool first, Call& call) const;

  std::vector<Token> tokens_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  std::unique_ptr<WordModel> model_;
  Trie raw_added_, normalized_added_;
  std::vector<size_t> added_bytes_;  // by id: length of an added token's text as it is looked for
  bool strip_first_space_;
};

}  // namespace vkmoe
