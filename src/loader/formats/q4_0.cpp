// Q4_0: 32 values d * (q - 8); a block is d (binary16), then 16 bytes: value i in the low, i + 16 in the high nibble.
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
  for (int i = 0; i < 16; i++) {
    values[i] = d * float(int(block[2 + i] & 15) - 8);
    values[i + 16] = d * float(int(block[2 + i] >> 4) - 8);
  }
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks + 2, 16);
  std::memcpy(tail, blocks, 2);
}

static bool encode(const float* values, uint8_t* block) {
  if (!(largest(values, 32) <= half_max)) return false;
  float d = write_half(fit_scale(values, 32, IntegerLevels{-8, 7}), block);
  uint8_t q[32];
  for (int i = 0; i < 32; i++) q[i] = uint8_t(nearest(values[i], d, -8, 7) + 8);
  pack_nibbles(q, block + 2);
  return true;
}

extern constinit const Format format_q4_0 = {"Q4_0", 2, 32, 18, 32, 1, 2, decode, split, encode};

}  // namespace vkmoe
