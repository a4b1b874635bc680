// NVFP4: 64 values scale * E2M1, scale of each 16. A block is four scales (E4M3 without sign), then four times 8
// bytes: the low nibbles are 8 values, the high ones the next 8. E2M1 is doubled to make it an integer and the scale
// halved.
#include <cmath>

#include "loader/format.h"
#include "loader/formats/pack.h"
#include "loader/formats/tables.h"

namespace vkmoe {

static float half_scale(uint8_t e4m3) {
  int exponent = e4m3 >> 3 & 15, mantissa = e4m3 & 7;
  if (e4m3 == 0x7f) return 0;  // NaN; ggml takes it for zero
  return exponent ? std::ldexp(float(8 + mantissa), exponent - 11) : std::ldexp(float(mantissa), -10);
}

static void unpack(const uint8_t* block, uint8_t* q) {
  for (int i = 0; i < 64; i++) q[i] = block[4 + i / 16 * 8 + i % 8] >> (i / 8 % 2 * 4) & 15;
}

static void decode(const uint8_t* block, float* values) {
  uint8_t q[64];
  unpack(block, q);
  for (int i = 0; i < 64; i++) values[i] = half_scale(block[i / 16]) * float(e2m1_doubled[q[i]]);
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  uint8_t q[64];
  unpack(blocks, q);
  pack_e2m1(q, quads);
  pack_e2m1(q + 32, quads + 16);
  std::memcpy(tail, blocks, 4);
}

extern constinit const Format format_nvfp4 = {"NVFP4", 40, 64, 36, 64, 2, 4, decode, split};

}  // namespace vkmoe
