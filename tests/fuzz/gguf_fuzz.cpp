// libFuzzer target: a GGUF and its tokenizer. Build all sources of src/base and src/loader with it:
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Isrc -Iinclude tests/fuzz/gguf_fuzz.cpp SOURCES
//     $(pkg-config --cflags --libs libpcre2-8 libutf8proc)
#include "base/error.h"
#include "loader/tokenizer.h"
#include "memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    auto model = vkmoe::ModelFile::open_gguf(memory_file(data, size));
    volatile uint8_t last = 0;
    for (const auto& [name, tensor] : model->tensors)
      if (tensor.size_bytes) last = tensor.data[tensor.size_bytes - 1];
    (void)last;
    vkmoe::Tokenizer::load(*model)->encode("The cat's 12 \xff<|im_end|>\n", true);
  } catch (const vkmoe::Error&) {
  }
  return 0;
}
