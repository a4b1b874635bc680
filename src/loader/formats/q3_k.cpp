// Q3_K: 256 values (d * (scale - 32)) * (q - 4), scale of each 16. A block is 32 bytes whose bit i are the third bits
// of the i-th 32 values, 64 bytes of pairs as in Q2_K, 12 bytes of scales, d (binary16).
#include "loader/format.h"
#include "loader/formats/fit.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void unpack(const uint8_t* block, uint8_t* q, uint8_t* high) {
  for (int i = 0; i < 256; i++) {
    q[i] = block[32 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
    high[i] = block[i % 32] >> (i / 32) & 1;
  }
}

// 6 bits: the low four of scales i and i + 8 in byte i, the high two of i, i + 4, i + 8, i + 12 in byte 8 + i.
static void unpack_scales(const uint8_t* bytes, uint8_t* scales) {
  for (int i = 0; i < 16; i++)
    scales[i] = uint8_t((bytes[i % 8] >> (i / 8 * 4) & 15) | (bytes[8 + i % 4] >> (i / 4 * 2) & 3) << 4);
}

static void decode(const uint8_t* block, float* values) {
  uint8_t q[256], high[256], scales[16];
  unpack(block, q, high);
  unpack_scales(block + 96, scales);
  float d = read_half(block + 108);
  for (int i = 0; i < 256; i++)
    values[i] = d * float(int(scales[i / 16]) - 32) * float(int(q[i] | high[i] << 2) - 4);
}

// Four quads of pairs, two of third bits; d and the scales in the tail, 12 bits for each 32 values.
static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  uint8_t q[256], high[256], scales[16];
  unpack(blocks, q, high);
  unpack_scales(blocks + 96, scales);
  uint16_t both[8];
  for (int i = 0; i < 8; i++) {
    pack_pairs(q + i * 32, quads + i * 8);
    pack_bits(high + i * 32, quads + 64 + i * 4);
    both[i] = uint16_t(scales[2 * i] | scales[2 * i + 1] << 6);
  }
  std::memcpy(tail, blocks + 108, 2);
  pack_12_bits(both, tail + 2);
}

static bool encode(const float* values, uint8_t* block) {
  ScaledBlock k;
  if (!fit_scaled_block(values, 16, IntegerLevels{-4, 3}, -32, 31, k)) return false;
  std::memset(block, 0, 108);
  for (int i = 0; i < 256; i++) {
    int q = k.q[i] + 4;
    block[i % 32] |= uint8_t(q >> 2 << (i / 32));
    block[32 + i / 128 * 32 + i % 32] |= uint8_t((q & 3) << (i / 32 % 4 * 2));
  }
  for (int i = 0; i < 16; i++) {
    int scale = k.scales[i] + 32;
    block[96 + i % 8] |= uint8_t((scale & 15) << (i / 8 * 4));
    block[104 + i % 4] |= uint8_t(scale >> 4 << (i / 4 * 2));
  }
  write_half(k.d, block + 108);
  return true;
}

extern constinit const Format format_q3_k = {"Q3_K", 11, 256, 110, 256, 6, 14, decode, split, encode};

}  // namespace vkmoe
