// libFuzzer target: a tokenizer.json, a zero byte, and a text. Built as gguf_fuzz.cpp.
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "loader/json_file.h"
#include "loader/tokenizer.h"

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
    // Normalization and stripping added tokens may change the text; nothing else may.
    bool exact = true;
    for (const char* word : {"\"NFC\"", "strip\":true"})
      if (model.tokenizer.dump().find(word) != std::string::npos) exact = false;
    if (exact && back != text) std::abort();
  } catch (const vkmoe::Error&) {
  }
  return 0;
}
