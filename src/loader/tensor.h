// A named array in a mapped model file.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "loader/format.h"

namespace vkmoe {

struct Tensor {
  std::string name;
  const Format* format = nullptr;
  std::vector<uint64_t> shape;   // outermost first, as NumPy and safetensors write it; GGUF's order is turned round
  const uint8_t* data = nullptr;  // (shape), rows without padding; owned by the ModelFile
  uint64_t size_bytes = 0;

  uint64_t elems() const {
    uint64_t n = 1;
    for (uint64_t d : shape) n *= d;
    return n;
  }
};

// "(8, 48, 64)"
std::string shape_text(const std::vector<uint64_t>& shape);

}  // namespace vkmoe
