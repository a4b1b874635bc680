// Q2_K: 256 values (d * scale) * q - (dmin * minimum), scale and minimum of each 16. A block is 16 bytes, scale in
// the low and minimum in the high nibble; two times 32 bytes of pairs (of 128 values, i, i + 32, i + 64, i + 96 in
// byte i); d and dmin (binary16).
#include "loader/format.h"
#include "loader/formats/fit.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void unpack(const uint8_t* block, uint8_t* q) {
  for (int i = 0; i < 256; i++) q[i] = block[16 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
}

static void decode(const uint8_t* block, float* values) {
  uint8_t q[256];
  unpack(block, q);
  float d = read_half(block + 80), dmin = read_half(block + 82);
  for (int i = 0; i < 256; i++)
    values[i] = d * float(block[i / 16] & 15) * float(q[i]) - dmin * float(block[i / 16] >> 4);
}

// Four quads of pairs, one of scales and minima; d and dmin in the tail.
static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  uint8_t q[256];
  unpack(blocks, q);
  for (int i = 0; i < 8; i++) pack_pairs(q + i * 32, quads + i * 8);
  std::memcpy(quads + 64, blocks, 16);
  std::memcpy(tail, blocks + 80, 4);
}

static bool encode(const float* values, uint8_t* block) {
  RangedBlock k;
  if (!fit_ranged_block(values, 16, 3, 15, k)) return false;
  for (int i = 0; i < 16; i++) block[i] = uint8_t(k.scales[i] | k.minima[i] << 4);
  std::memset(block + 16, 0, 64);
  for (int i = 0; i < 256; i++) block[16 + i / 128 * 32 + i % 32] |= uint8_t(k.q[i] << (i / 32 % 4 * 2));
  write_half(k.d, block + 80);
  write_half(k.dmin, block + 82);
  return true;
}

extern constinit const Format format_q2_k = {"Q2_K", 10, 256, 84, 256, 5, 4, decode, split, encode};

}  // namespace vkmoe
