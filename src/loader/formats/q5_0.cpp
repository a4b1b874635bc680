// Q5_0: 32 values d * (q - 16); a block is d (binary16), 32 fifth bits, then 16 bytes as in Q4_0.
#include "loader/format.h"
#include "loader/formats/fit.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void unpack(const uint8_t* block, uint8_t* q) {
  for (int i = 0; i < 32; i++) {
    int high = block[2 + i / 8] >> i % 8 & 1;
    q[i] = uint8_t((i < 16 ? block[6 + i] & 15 : block[6 + i - 16] >> 4) | high << 4);
  }
}

static void decode(const uint8_t* block, float* values) {
  uint8_t q[32];
  unpack(block, q);
  float d = read_half(block);
  for (int i = 0; i < 32; i++) values[i] = d * float(int(q[i]) - 16);
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  uint8_t q[32], high[32];
  unpack(blocks, q);
  for (int i = 0; i < 32; i++) high[i] = q[i] >> 4;
  pack_nibbles(q, quads);
  std::memcpy(tail, blocks, 2);
  pack_bits(high, tail + 2);
}

static bool encode(const float* values, uint8_t* block) {
  if (!(largest(values, 32) <= half_max)) return false;
  float d = write_half(fit_scale(values, 32, IntegerLevels{-16, 15}), block);
  uint8_t q[32];
  for (int i = 0; i < 32; i++) q[i] = uint8_t(nearest(values[i], d, -16, 15) + 16);
  pack_32_bits(q, 4, block + 2);
  pack_nibbles(q, block + 6);
  return true;
}

extern constinit const Format format_q5_0 = {"Q5_0", 6, 32, 22, 32, 1, 6, decode, split, encode};

}  // namespace vkmoe
