// bfloat16, little-endian: the upper half of a binary32.
#include <cstring>

#include "base/numeric.h"
#include "loader/format.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  uint16_t half;
  std::memcpy(&half, block, 2);
  *values = bf16_to_float(half);
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t*) { std::memcpy(quads, blocks, 64); }

static bool encode(const float* values, uint8_t* block) {
  uint16_t half = float_to_bf16(*values);
  std::memcpy(block, &half, 2);
  return (half & 0x7f80) != 0x7f80;
}

extern constinit const Format format_bf16 = {"BF16", 30, 1, 2, 32, 4, 0, decode, split, encode};

}  // namespace vkmoe
