// Q8_0: 32 values d * q; a block is d (binary16), then 32 int8.
#include <cmath>
#include <cstring>

#include "base/numeric.h"
#include "loader/format.h"
#include "loader/formats/fit.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  uint16_t half;
  std::memcpy(&half, block, 2);
  float d = half_to_float(half);
  for (int i = 0; i < 32; i++) values[i] = d * float(int8_t(block[2 + i]));
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks + 2, 32);
  std::memcpy(tail, blocks, 2);
}

// Plain rounding, to the same bits as ggml's: with 8 bits no search gains anything.
static bool encode(const float* values, uint8_t* block) {
  float most = largest(values, 32);
  if (!(most <= half_max)) return false;
  float d = most < 1e-30f ? 0 : most / 127, inverse = d == 0 ? 0 : 1 / d;
  write_half(d, block);
  for (int i = 0; i < 32; i++) block[2 + i] = uint8_t(int8_t(std::round(values[i] * inverse)));
  return true;
}

extern constinit const Format format_q8_0 = {"Q8_0", 8, 32, 34, 32, 2, 2, decode, split, encode};

}  // namespace vkmoe
