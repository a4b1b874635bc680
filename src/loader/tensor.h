// A named array in a mapped model file.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "loader/format.h"

namespace vkmoe {

// Scales that a file keeps apart from the values: one for each row_block x column_block of a matrix (n, k).
struct TensorScales {
  std::vector<float> values;  // (matrices, n / row_block, k / column_block), each rounded up
  uint64_t row_block = 1, column_block = 1;
};

struct Tensor {
  std::string name;
  const Format* format = nullptr;
  std::vector<uint64_t> shape;   // outermost first, as NumPy and safetensors write it; GGUF's order is turned round
  const uint8_t* data = nullptr;  // (shape), rows without padding; owned by the ModelFile
  uint64_t size_bytes = 0;
  std::shared_ptr<const TensorScales> scales;  // with F8_E4M3 alone: data is then one byte a value
  const uint8_t* block_scales = nullptr;  // with MXFP4 of safetensors: one a block; data is then 16 bytes a block

  const MappedFile* file = nullptr;       // whose bytes these are; nullptr: the program's own

  // Row r of the matrix, or of all matrices one below the other, in `format`: where it lies, or put together in scratch.
  const uint8_t* row(uint64_t r, std::vector<uint8_t>& scratch) const;

  // A hint that rows first .. first + count - 1 are not needed soon: the file's pages leave memory until
  // they are read again.
  void release(uint64_t first, uint64_t count) const;

  uint64_t elems() const {
    uint64_t n = 1;
    for (uint64_t d : shape) n *= d;
    return n;
  }
  uint64_t rows() const { return shape.empty() ? 1 : elems() / shape.back(); }
};

// "(8, 48, 64)"
std::string shape_text(const std::vector<uint64_t>& shape);

}  // namespace vkmoe
