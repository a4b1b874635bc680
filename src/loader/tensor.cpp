#include "loader/tensor.h"

#include <cstring>

#include "base/numeric.h"

namespace vkmoe {

// gpt-oss keeps values 2i and 2i + 1 of a block in its byte i (transformers' integrations/mxfp4.py), ggml i and i + 16.
static void join_mxfp4_row(const uint8_t* data, const uint8_t* scales, uint64_t blocks, uint8_t* to) {
  for (uint64_t b = 0; b < blocks; b++, data += 16, to += 17) {
    auto value = [&](int i) { return data[i / 2] >> i % 2 * 4 & 15; };
    to[0] = scales[b];
    for (int i = 0; i < 16; i++) to[1 + i] = uint8_t(value(i) | value(i + 16) << 4);
  }
}

void Tensor::release(uint64_t first, uint64_t count) const {
  if (!file) return;
  uint64_t k = shape.empty() ? 1 : shape.back();
  uint64_t row = block_scales ? k / 32 * 16 : scales ? k : row_bytes(*format, k);
  file->release(data + first * row, count * row);
  if (block_scales) file->release(block_scales + first * (k / 32), count * (k / 32));
}

const uint8_t* Tensor::row(uint64_t r, std::vector<uint8_t>& scratch) const {
  uint64_t k = shape.back();
  if (block_scales) {
    scratch.resize(row_bytes(*format, k));
    join_mxfp4_row(data + r * (k / 32) * 16, block_scales + r * (k / 32), k / 32, scratch.data());
    return scratch.data();
  }
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
