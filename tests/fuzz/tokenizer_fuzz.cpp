// libFuzzer target: tokenizer.json or tiktoken.model, a text and tokenizer_config.json, parted by zero bytes.
#include "input.h"
#include "loader/gguf_writer.h"
#include "loader/tokenizer.h"
#include "loader/tokenizer_export.h"

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
  std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    vkmoe::ModelFile model;
    model.kind = vkmoe::ModelFile::Kind::hugging_face;
    std::string_view source = next_part(input), text = next_part(input);
    model.tokenizer_config = json_part(next_part(input));
    if (source.starts_with('{')) {
      model.tokenizer = json_part(source);
    } else {
      model.tiktoken = source;
      if (!model.tokenizer_config.is_object()) model.tokenizer_config = nlohmann::json::object();
      model.tokenizer_config["tokenizer_class"] = "TikTokenTokenizer";
    }
    auto tokenizer = vkmoe::Tokenizer::load(model);
    std::string back;
    std::vector<int32_t> ids = tokenizer->encode(text, false);
    for (int32_t id : ids) back += tokenizer->token_bytes(id, true);
    tokenizer->decode(tokenizer->encode(text, true), false);
    // As `quantize` writes it; byte-level ones take too long, since their pre-tokenizer is looked for among all known.
    if (!model.tiktoken.empty() || source.find("\"byte_fallback\":true") != source.npos) {
      vkmoe::GgufHeader header;
      set_tokenizer(model, tokenizer->vocab_size(), header);
    }
    if ((!model.tiktoken.empty() || is_exact(model.tokenizer)) && back != text) std::abort();
  } catch (const vkmoe::Error&) {
  }
  return 0;
}
