// MXFP4 (OCP Microscaling 1.0): 32 values 2^(e - 127) * E2M1; a block is e, then 16 bytes as in Q4_0. E2M1 is doubled
// to make it an integer and 2^(e - 128) taken for the scale, as in ggml.
#include <algorithm>
#include <cmath>

#include "loader/format.h"
#include "loader/formats/fit.h"
#include "loader/formats/pack.h"
#include "loader/formats/tables.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  int e = block[0];
  float d = bits_to_float(e < 2 ? 0x00200000u << e : uint32_t(e - 1) << 23);  // denormal below 2^-126
  for (int i = 0; i < 16; i++) {
    values[i] = d * float(e2m1_doubled[block[1 + i] & 15]);
    values[i + 16] = d * float(e2m1_doubled[block[1 + i] >> 4]);
  }
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  uint8_t q[32];
  for (int i = 0; i < 16; i++) {
    q[i] = blocks[1 + i] & 15;
    q[i + 16] = blocks[1 + i] >> 4;
  }
  pack_e2m1(q, quads);
  tail[0] = blocks[0];
}

// The code of the nearest of the levels times d.
static uint8_t nearest_code(float x, float d) {
  float magnitude = std::fabs(x) / d;
  int code = 0;
  while (code < 7 && magnitude > 0.5f * float(e2m1_doubled[code] + e2m1_doubled[code + 1])) code++;
  return uint8_t(code | (x < 0 && code ? 8 : 0));
}

// Of the powers of two at which the largest value is cut off, just fits or leaves room, the one with the least error.
static bool encode(const float* values, uint8_t* block) {
  float most = largest(values, 32);
  if (!std::isfinite(most)) return false;
  int exponent = most > 0 ? std::ilogb(most) : -127;
  double least = -1;
  for (int e = std::clamp(exponent + 124, 0, 254); e <= std::clamp(exponent + 126, 0, 254); e++) {
    uint8_t q[32];
    float d = std::ldexp(1.0f, e - 128);
    double sum = 0;
    for (int i = 0; i < 32; i++) {
      q[i] = nearest_code(values[i], d);
      double error = d * float(e2m1_doubled[q[i]]) - values[i];
      sum += error * error;
    }
    if (least >= 0 && sum >= least) continue;
    least = sum;
    block[0] = uint8_t(e);
    pack_nibbles(q, block + 1);
  }
  return true;
}

extern constinit const Format format_mxfp4 = {"MXFP4", 39, 32, 17, 32, 1, 1, decode, split, encode};

}  // namespace vkmoe
