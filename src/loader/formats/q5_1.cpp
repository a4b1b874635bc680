// Q5_1: 32 values d * q + m; a block is d and m (binary16), 32 fifth bits, then 16 bytes as in Q4_0.
#include "loader/format.h"
#include "loader/formats/fit.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void unpack(const uint8_t* block, uint8_t* q) {
  for (int i = 0; i < 32; i++) {
    int high = block[4 + i / 8] >> i % 8 & 1;
    q[i] = uint8_t((i < 16 ? block[8 + i] & 15 : block[8 + i - 16] >> 4) | high << 4);
  }
}

static void decode(const uint8_t* block, float* values) {
  uint8_t q[32];
  unpack(block, q);
  float d = read_half(block), m = read_half(block + 2);
  for (int i = 0; i < 32; i++) values[i] = d * float(q[i]) + m;
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  uint8_t q[32], high[32];
  unpack(blocks, q);
  for (int i = 0; i < 32; i++) high[i] = q[i] >> 4;
  pack_nibbles(q, quads);
  std::memcpy(tail, blocks, 4);
  pack_bits(high, tail + 4);
}

static bool encode(const float* values, uint8_t* block) {
  if (!(largest(values, 32) <= half_max)) return false;
  Range range = fit_range(values, 32, 31, false);
  float d = write_half(range.scale, block), m = write_half(range.minimum, block + 2);
  uint8_t q[32];
  for (int i = 0; i < 32; i++) q[i] = uint8_t(nearest(values[i] - m, d, 0, 31));
  pack_32_bits(q, 4, block + 4);
  pack_nibbles(q, block + 8);
  return true;
}

extern constinit const Format format_q5_1 = {"Q5_1", 7, 32, 24, 32, 1, 8, decode, split, encode};

}  // namespace vkmoe
