// Q4_1: 32 values d * q + m; a block is d and m (binary16), then 16 bytes as in Q4_0.
#include "loader/format.h"
#include "loader/formats/fit.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  float d = read_half(block), m = read_half(block + 2);
  for (int i = 0; i < 16; i++) {
    values[i] = d * float(block[4 + i] & 15) + m;
    values[i + 16] = d * float(block[4 + i] >> 4) + m;
  }
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks + 4, 16);
  std::memcpy(tail, blocks, 4);
}

static bool encode(const float* values, uint8_t* block) {
  if (!(largest(values, 32) <= half_max)) return false;
  Range range = fit_range(values, 32, 15, false);
  float d = write_half(range.scale, block), m = write_half(range.minimum, block + 2);
  uint8_t q[32];
  for (int i = 0; i < 32; i++) q[i] = uint8_t(nearest(values[i] - m, d, 0, 15));
  pack_nibbles(q, block + 4);
  return true;
}

extern constinit const Format format_q4_1 = {"Q4_1", 3, 32, 20, 32, 1, 4, decode, split, encode};

}  // namespace vkmoe
