// F8_E4M3 (OCP 8-bit floating point 1.0): 128 values d * E4M3 as DeepSeek-V3 ships them; a block is d (float32), then a
// byte a value. Files keep scales and values apart; Tensor::row() brings them together.
#include <array>
#include <cmath>
#include <cstring>

#include "loader/format.h"

namespace vkmoe {

static const std::array<float, 256> e4m3 = [] {
  std::array<float, 256> values;
  for (int bits = 0; bits < 256; bits++) {
    int exponent = bits >> 3 & 15, mantissa = bits & 7;
    float value = exponent ? std::ldexp(float(8 + mantissa), exponent - 10) : std::ldexp(float(mantissa), -9);
    if ((bits & 0x7f) == 0x7f) value = NAN;
    values[size_t(bits)] = bits & 0x80 ? -value : value;
  }
  return values;
}();

static void decode(const uint8_t* block, float* values) {
  float d;
  std::memcpy(&d, block, 4);
  for (int i = 0; i < 128; i++) values[i] = d * e4m3[block[4 + i]];
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  for (int b = 0; b < 2; b++) {
    std::memcpy(tail + 4 * b, blocks + 132 * b, 4);
    std::memcpy(quads + 128 * b, blocks + 132 * b + 4, 128);
  }
}

extern constinit const Format format_f8_e4m3 = {"F8_E4M3", no_ggml_type, 128, 132, 256, 16, 8, decode, split};

}  // namespace vkmoe
