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

// E2M1 in the low half of bytes -> 16 bytes: values 8i .. 8i + 7 in word i. Byte j has the magnitude of value 8i + j in
// bits 1 to 3 and its sign in bit 7, so that a word, or it shifted by a byte, holds two as fp16 has them (bits 9 to 11 and
// 15 of its halves); and the magnitude of value 8i + 4 + j in bits 4 to 6, its sign in bit 0. Zero has no sign.
inline void pack_e2m1(const uint8_t* q, uint8_t* out) {
  auto signs = [](uint32_t codes) { return codes >> 3 & (codes | codes >> 1 | codes >> 2) & 0x01010101; };
  for (int i = 0; i < 4; i++) {
    uint32_t first, second;
    std::memcpy(&first, q + i * 8, 4);
    std::memcpy(&second, q + i * 8 + 4, 4);
    uint32_t word = (first & 0x07070707) << 1 | signs(first) << 7 | (second & 0x07070707) << 4 | signs(second);
    std::memcpy(out + i * 4, &word, 4);
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
