// Q6_K: 256 values (d * scale) * (q - 32), an int8 scale of each 16. A block is two times 64 bytes of low nibbles
// (the first 64 of 128 values in the low, the others in the high half), two times 32 bytes of high pairs (values i, i
// + 32, i + 64, i + 96 in byte i), 16 scales, d (binary16).
#include "loader/format.h"
#include "loader/formats/fit.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void unpack(const uint8_t* block, uint8_t* q, uint8_t* high) {
  for (int i = 0; i < 256; i++) {
    int half = i / 128;
    q[i] = block[half * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
    high[i] = block[128 + half * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
  }
}

static void decode(const uint8_t* block, float* values) {
  uint8_t q[256], high[256];
  unpack(block, q, high);
  float d = read_half(block + 208);
  for (int i = 0; i < 256; i++)
    values[i] = d * float(int8_t(block[192 + i / 16])) * float(int(q[i] | high[i] << 4) - 32);
}

// A quad of nibbles for each 32 values, four of pairs, one of scales; d in the tail.
static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  uint8_t q[256], high[256];
  unpack(blocks, q, high);
  for (int i = 0; i < 8; i++) {
    pack_nibbles(q + i * 32, quads + i * 16);
    pack_pairs(high + i * 32, quads + 128 + i * 8);
  }
  std::memcpy(quads + 192, blocks + 192, 16);
  std::memcpy(tail, blocks + 208, 2);
}

static bool encode(const float* values, uint8_t* block) {
  ScaledBlock k;
  if (!fit_scaled_block(values, 16, IntegerLevels{-32, 31}, -128, 127, k)) return false;
  std::memset(block, 0, 192);
  for (int i = 0; i < 256; i++) {
    int half = i / 128, q = k.q[i] + 32;
    block[half * 64 + i % 64] |= uint8_t((q & 15) << (i / 64 % 2 * 4));
    block[128 + half * 32 + i % 32] |= uint8_t(q >> 4 << (i / 32 % 4 * 2));
  }
  for (int i = 0; i < 16; i++) block[192 + i] = uint8_t(k.scales[i]);
  write_half(k.d, block + 208);
  return true;
}

extern constinit const Format format_q6_k = {"Q6_K", 14, 256, 210, 256, 13, 2, decode, split, encode};

}  // namespace vkmoe
