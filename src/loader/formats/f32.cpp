// IEEE 754 binary32, little-endian.
#include <cmath>
#include <cstring>

#include "loader/format.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) { std::memcpy(values, block, 4); }

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t*) { std::memcpy(quads, blocks, 128); }

static bool encode(const float* values, uint8_t* block) {
  std::memcpy(block, values, 4);
  return std::isfinite(*values);
}

extern constinit const Format format_f32 = {"F32", 0, 1, 4, 32, 8, 0, decode, split, encode};

}  // namespace vkmoe
