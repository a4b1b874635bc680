// Model folders with a tokenizer and nothing else, in memory. For the tests of tokenizers.
#pragma once
#include <string>

#include "loader/model_file.h"

namespace vkmoe {

// A model folder with this tokenizer.json, in memory.
inline ModelFile model_with(nlohmann::json tokenizer) {
  ModelFile model;
  model.kind = ModelFile::Kind::hugging_face;
  model.path = "folder";
  model.metadata = nlohmann::json::object();
  model.tokenizer = std::move(tokenizer);
  return model;
}

inline std::string from_base64(const std::string& text) {
  static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0, count = 0;
  for (char c : text) {
    if (c == '=') break;
    bits = bits << 6 | uint32_t(digits.find(c));
    if ((count += 6) >= 8) bytes += char(bits >> (count -= 8));
  }
  return bytes;
}

inline ModelFile tiktoken_model(const std::string& text) {
  ModelFile model = model_with(nlohmann::json());
  model.tiktoken = text;
  model.tokenizer_config = {{"tokenizer_class", "TikTokenTokenizer"}};
  return model;
}

}  // namespace vkmoe
