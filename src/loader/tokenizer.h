// Text to token ids and back, exactly as the model was trained.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "loader/model_file.h"

namespace vkmoe {

class Tokenizer {
 public:
  // From tokenizer.json, SentencePiece's tokenizer.model, tiktoken.model or a GGUF's tokenizer.ggml.* keys. Fails with
  // VKMOE_ERROR_UNSUPPORTED and the key and value for a model, pre-tokenizer, normalizer or decoder that is not known.
  static std::unique_ptr<Tokenizer> load(const ModelFile& file);
  virtual ~Tokenizer() = default;

  // Ids of exactly these bytes, any bytes. parse_special: text that looks like a special token becomes that token.
  // No BOS or EOS is added.
  virtual std::vector<int32_t> encode(std::string_view text, bool parse_special) const = 0;

  // Bytes of one id; may be a part of a UTF-8 character. Control tokens give nothing unless `special`.
  virtual std::string token_bytes(int32_t id, bool special) const = 0;

  // Bytes of ids from the start of a text. Differs from their bytes one after the other where the tokenizer puts a space
  // in front of a text, which is taken away again.
  virtual std::string decode(const std::vector<int32_t>& ids, bool special) const;

  virtual uint32_t vocab_size() const = 0;

  int32_t bos = -1;              // -1: none
  bool add_bos = false;          // the model wants bos first
  std::vector<int32_t> end_ids;  // ids that end an answer: eos, end of turn
  std::string chat_template;     // Jinja source; empty: none
  std::string bos_text, eos_text;  // as the template's bos_token and eos_token
};

// Joins bytes of tokens into whole UTF-8 characters for streaming.
class Utf8Stream {
 public:
  // The longest part of what was pushed so far that ends with a whole character. Bytes that cannot become valid UTF-8 are
  // passed through as they are.
  std::string push(std::string_view bytes);
  std::string flush();  // what is left, as it is

 private:
  std::string pending_;
};

}  // namespace vkmoe
