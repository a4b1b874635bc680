// libFuzzer target: a GGUF, the model it describes, and its tokenizer.
#include "input.h"
#include "loader/tokenizer.h"
#include "moe/model_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    auto model = vkmoe::ModelFile::open_gguf(memory_file(data, size));
    volatile uint8_t last = 0;
    for (const auto& [name, tensor] : model->tensors)
      if (tensor.size_bytes) last = tensor.data[tensor.size_bytes - 1];
    (void)last;
    try {
      vkmoe::count_parameters(vkmoe::read_model_spec(model));
    } catch (const vkmoe::Error&) {
    }
    vkmoe::Tokenizer::load(*model)->encode("The cat's 12 \xff<|im_end|>\n", true);
  } catch (const vkmoe::Error&) {
  }
  return 0;
}
