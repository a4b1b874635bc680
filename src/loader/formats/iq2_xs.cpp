// IQ2_XS: 256 values. A block is d (binary16), 32 times 16 bits for 8 values each: 9 bits of codebook entry and 7
// signs, then 8 bytes with the 4-bit scales of 16 values each. value = d * (0.5 + scale) * 0.25 * level.
#include "loader/format.h"
#include "loader/formats/codebooks.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  float d = read_half(block);
  for (int i = 0; i < 256; i++) {
    uint32_t q = read_u16(block + 2 + i / 8 * 2), scale = block[66 + i / 32] >> (i / 16 % 2 * 4) & 15;
    float dl = d * (0.5f + float(scale)) * 0.25f;
    values[i] = with_sign(dl * iq2_level(codebook_iq2_xs[q & 511], i % 8), eight_signs(q >> 9), i % 8);
  }
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks + 2, 64);
  std::memcpy(tail, blocks, 2);
  std::memcpy(tail + 2, blocks + 66, 8);
}

extern constinit const Format format_iq2_xs = {"IQ2_XS", 17, 256, 74, 256, 4, 10, decode, split, nullptr,
                                               codebook_iq2_xs, 512};

}  // namespace vkmoe
