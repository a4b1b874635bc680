#include "loader/tensor.h"

#include <cstring>

#include "base/numeric.h"

namespace vkmoe {

const uint8_t* Tensor::row(uint64_t r, std::vector<uint8_t>& scratch) const {
  uint64_t k = shape.back();
  if (!scales) return data + r * row_bytes(*format, k);
  uint64_t n = shape.size() > 1 ? shape[shape.size() - 2] : 1;
  uint64_t row_blocks = ceil_div(n, scales->row_block);
  uint64_t column_blocks = ceil_div(k, scales->column_block);
  const float* row_scales = &scales->values[(r / n * row_blocks + r % n / scales->row_block) * column_blocks];
  scratch.resize(row_bytes(*format, k));
  for (uint64_t b = 0; b < k / 128; b++) {
    std::memcpy(&scratch[132 * b], &row_scales[128 * b / scales->column_block], 4);
    std::memcpy(&scratch[132 * b + 4], data + r * k + 128 * b, 128);
  }
  return scratch.data();
}

}  // namespace vkmoe
