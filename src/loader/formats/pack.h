// How the small integers of 32 values lie on the device, so that shaders/quant/unpack.glsl gets four neighbouring
// ones with one shift and one mask. Values 4i .. 4i+3 are always the same bits of the four bytes of one word.
#pragma once
#include <cstdint>
#include <cstring>

#include "base/numeric.h"

namespace vkmoe {

// 4 bits each -> 16 bytes: value v in the low, v + 16 in the high half of byte v.
inline void pack_nibbles(const uint8_t* q, uint8_t* out) {
  for (int i = 0; i < 16; i++) out[i] = uint8_t((q[i] & 15) | (q[i + 16] & 15) << 4);
}

// E2M1 in the low half of bytes -> 16 bytes: values 8i .. 8i + 7 in word i, two neighbours at the same bits of its
// halves. Sign and magnitude of the first two lie as in an fp16 (bits 15, 9 to 11), those of the next two three bits
// lower (12, 6 to 8), then 14 and 3 to 5, 13 and 0 to 2. The products hold each code on its own, in bits 48 and up.
inline void pack_e2m1(const uint8_t* q, uint8_t* out) {
  for (int i = 0; i < 8; i++) {  // halves
    uint64_t codes;
    std::memcpy(&codes, q + i / 2 * 8, 8);
    codes >>= i % 2 * 8;
    uint64_t magnitudes = (codes & 0x0007000700070007) * (1ull << 57 | 1ull << 38 | 1ull << 19 | 1);
    uint64_t signs = (codes >> 3 & 0x0001000100010001) * (1ull << 63 | 1ull << 44 | 1ull << 30 | 1ull << 13);
    uint16_t half = uint16_t((magnitudes >> 48 & 0x0fff) | (signs >> 48 & 0xf000));
    std::memcpy(out + i * 2, &half, 2);
  }
}

// 2 bits each -> 8 bytes: values v, v + 8, v + 16, v + 24 in byte v, from the lowest bits on.
inline void pack_pairs(const uint8_t* q, uint8_t* out) {
  for (int i = 0; i < 8; i++)
    out[i] = uint8_t((q[i] & 3) | (q[i + 8] & 3) << 2 | (q[i + 16] & 3) << 4 | (q[i + 24] & 3) << 6);
}

// 1 bit each -> 4 bytes: values v, v + 4, ... v + 28 in byte v, from the lowest bit on.
inline void pack_bits(const uint8_t* q, uint8_t* out) {
  for (int i = 0; i < 4; i++) {
    out[i] = 0;
    for (int j = 0; j < 8; j++) out[i] |= uint8_t((q[i + 4 * j] & 1) << j);
  }
}

// Eight values of 12 bits -> 12 bytes: the low 8 bits of each, then the high 4.
inline void pack_12_bits(const uint16_t* q, uint8_t* out) {
  for (int i = 0; i < 8; i++) out[i] = uint8_t(q[i]);
  for (int i = 0; i < 4; i++) out[8 + i] = uint8_t(q[2 * i] >> 8 | q[2 * i + 1] >> 8 << 4);
}

// Bit `bit` of 32 values -> 4 bytes, value v in bit v % 8 of byte v / 8.
inline void pack_32_bits(const uint8_t* q, int bit, uint8_t* out) {
  std::memset(out, 0, 4);
  for (int i = 0; i < 32; i++) out[i / 8] |= uint8_t((q[i] >> bit & 1) << i % 8);
}

inline uint16_t read_u16(const uint8_t* p) {
  uint16_t value;
  std::memcpy(&value, p, 2);
  return value;
}
inline float read_half(const uint8_t* p) { return half_to_float(read_u16(p)); }

// Returns what was written, rounded.
inline float write_half(float value, uint8_t* p) {
  uint16_t half = float_to_half(value);
  std::memcpy(p, &half, 2);
  return half_to_float(half);
}

}  // namespace vkmoe
