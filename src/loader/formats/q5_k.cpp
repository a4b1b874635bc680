// Q5_K: 256 values as in Q4_K, with a fifth bit. A block is d and dmin (binary16), 12 bytes of scales and minima, 32
// bytes whose bit i are the fifth bits of the i-th 32 values, then 128 bytes as in Q4_K.
#include "loader/format.h"
#include "loader/formats/fit.h"
#include "loader/formats/k_scales.h"

namespace vkmoe {

static void unpack(const uint8_t* block, uint8_t* q, uint8_t* high) {
  for (int i = 0; i < 256; i++) {
    q[i] = block[48 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
    high[i] = block[16 + i % 32] >> (i / 32) & 1;
  }
}

static void decode(const uint8_t* block, float* values) {
  uint8_t q[256], high[256];
  unpack(block, q, high);
  KScales k(block + 4);
  float d = read_half(block), dmin = read_half(block + 2);
  for (int i = 0; i < 256; i++)
    values[i] = d * float(k.scales[i / 32]) * float(q[i] | high[i] << 4) - dmin * float(k.minima[i / 32]);
}

// A quad for each 32 values; two of fifth bits, a word for each 32 values; the last as in Q4_K.
static void split(const uint8_t* blocks, uint8_t* quads, uint8_t*) {
  uint8_t q[256], high[256];
  unpack(blocks, q, high);
  for (int i = 0; i < 8; i++) {
    pack_nibbles(q + i * 32, quads + i * 16);
    pack_bits(high + i * 32, quads + 128 + i * 4);
  }
  std::memcpy(quads + 160, blocks, 4);
  KScales(blocks + 4).pack(quads + 164);
}

static bool encode(const float* values, uint8_t* block) {
  RangedBlock k;
  if (!fit_ranged_block(values, 32, 31, 63, k)) return false;
  write_half(k.d, block);
  write_half(k.dmin, block + 2);
  KScales::write(k.scales, k.minima, block + 4);
  std::memset(block + 16, 0, 160);
  for (int i = 0; i < 256; i++) {
    block[16 + i % 32] |= uint8_t(k.q[i] >> 4 << (i / 32));
    block[48 + i / 64 * 32 + i % 32] |= uint8_t((k.q[i] & 15) << (i / 32 % 2 * 4));
  }
  return true;
}

extern constinit const Format format_q5_k = {"Q5_K", 13, 256, 176, 256, 11, 0, decode, split, encode};

}  // namespace vkmoe
