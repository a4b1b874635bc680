// Q4_K: 256 values (d * scale) * q - (dmin * minimum), scale and minimum of each 32. A block is d and dmin
// (binary16), 12 bytes of scales and minima, then 4 times 32 bytes: the low nibbles are 32 values, the high ones the
// next 32.
#include "loader/format.h"
#include "loader/formats/fit.h"
#include "loader/formats/k_scales.h"

namespace vkmoe {

static void unpack(const uint8_t* block, uint8_t* q) {
  for (int i = 0; i < 256; i++) q[i] = block[16 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
}

static void decode(const uint8_t* block, float* values) {
  uint8_t q[256];
  unpack(block, q);
  KScales k(block + 4);
  float d = read_half(block), dmin = read_half(block + 2);
  for (int i = 0; i < 8; i++) {
    float scale = d * float(k.scales[i]), minimum = dmin * float(k.minima[i]);
    for (int j = 0; j < 32; j++) values[i * 32 + j] = scale * float(q[i * 32 + j]) - minimum;
  }
}

// A quad for each 32 values; the ninth: d, dmin, scales and minima.
static void split(const uint8_t* blocks, uint8_t* quads, uint8_t*) {
  uint8_t q[256];
  unpack(blocks, q);
  for (int i = 0; i < 8; i++) pack_nibbles(q + i * 32, quads + i * 16);
  std::memcpy(quads + 128, blocks, 4);
  KScales(blocks + 4).pack(quads + 132);
}

static bool encode(const float* values, uint8_t* block) {
  RangedBlock k;
  if (!fit_ranged_block(values, 32, 15, 63, k)) return false;
  write_half(k.d, block);
  write_half(k.dmin, block + 2);
  KScales::write(k.scales, k.minima, block + 4);
  std::memset(block + 16, 0, 128);
  for (int i = 0; i < 256; i++) block[16 + i / 64 * 32 + i % 32] |= uint8_t(k.q[i] << (i / 32 % 2 * 4));
  return true;
}

extern constinit const Format format_q4_k = {"Q4_K", 12, 256, 144, 256, 9, 0, decode, split, encode};

}  // namespace vkmoe
