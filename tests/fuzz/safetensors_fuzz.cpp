// libFuzzer target: a safetensors file.
#include "input.h"
#include "loader/model_parts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    vkmoe::ModelFile model;
    auto file = memory_file(data, size);
    vkmoe::read_safetensors(*file, model);
    volatile uint8_t last = 0;
    for (const auto& [name, tensor] : model.tensors)
      if (tensor.size_bytes) last = tensor.data[tensor.size_bytes - 1];
    (void)last;
  } catch (const vkmoe::Error&) {
  }
  return 0;
}
