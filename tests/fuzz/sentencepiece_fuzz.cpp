// libFuzzer target: SentencePiece's tokenizer.model, with texts of its own.
#include "input.h"
#include "loader/tokenizer.h"

using namespace std::literals;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    vkmoe::ModelFile model;
    model.kind = vkmoe::ModelFile::Kind::hugging_face;
    model.sentencepiece.assign(reinterpret_cast<const char*>(data), size);
    auto tokenizer = vkmoe::Tokenizer::load(model);
    for (std::string_view text : {"  The cat's 12 caf\u00e9s \u2581 \uff21\xff<s> end</s>\n\n x \0 y"sv, ""sv})
      tokenizer->decode(tokenizer->encode(text, true), false);
    std::string own(reinterpret_cast<const char*>(data), std::min<size_t>(size, 300));
    tokenizer->decode(tokenizer->encode(own, false), true);
  } catch (const vkmoe::Error&) {
  }
  return 0;
}
