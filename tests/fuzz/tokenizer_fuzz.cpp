// libFuzzer target: a tokenizer.json, a zero byte, and a text. Built as gguf_fuzz.cpp.
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "loader/json_file.h"
#include "loader/tokenizer.h"

// Whether these parts give every text back: bytes, cut and nothing else.
static bool is_exact(const nlohmann::json& root) {
  std::string parts = root.value("normalizer", nlohmann::json()).dump() + root.value("pre_tokenizer", nlohmann::json()).dump();
  if (parts.find("ByteLevel") == std::string::npos || root.dump().find("strip\":true") != std::string::npos) return false;
  for (const char* type : {"Sequence", "Split", "Digits", "ByteLevel"})
    for (size_t at; (at = parts.find(std::string("\"type\":\"") + type)) != std::string::npos;) parts[at + 1] = '!';
  for (const char* other : {"\"type\":", "Removed", "prefix_space\":true"})
    if (parts.find(other) != std::string::npos) return false;
  return parts.find("prefix_space\":false") != std::string::npos;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto end = static_cast<const uint8_t*>(size ? std::memchr(data, 0, size) : nullptr);
  size_t json_bytes = end ? size_t(end - data) : size;
  std::string text(end ? end + 1 : data + size, data + size);
  try {
    vkmoe::ModelFile model;
    model.kind = vkmoe::ModelFile::Kind::hugging_face;
    model.tokenizer = vkmoe::parse_json(data, json_bytes, "input");
    auto tokenizer = vkmoe::Tokenizer::load(model);
    std::string back;
    for (int32_t id : tokenizer->encode(text, false)) back += tokenizer->token_bytes(id, true);
    if (is_exact(model.tokenizer) && back != text) std::abort();
  } catch (const vkmoe::Error&) {
  }
  return 0;
}
