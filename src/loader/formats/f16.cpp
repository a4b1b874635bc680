// IEEE 754 binary16, little-endian.
#include <cstring>

#include "base/numeric.h"
#include "loader/format.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  uint16_t half;
  std::memcpy(&half, block, 2);
  *values = half_to_float(half);
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t*) { std::memcpy(quads, blocks, 64); }

static bool encode(const float* values, uint8_t* block) {
  uint16_t half = float_to_half(*values);
  std::memcpy(block, &half, 2);
  return (half & 0x7c00) != 0x7c00;
}

extern constinit const Format format_f16 = {"F16", 1, 1, 2, 32, 4, 0, decode, split, encode};

}  // namespace vkmoe
