// IQ2_XXS: 256 values. A block is d (binary16), then for each 32 values: four bytes, the codebook entries of 8 values
// each, and 32 bits: four times 7 signs, a 4-bit scale. value = d * (0.5 + scale) * 0.25 * level.
#include "loader/format.h"
#include "loader/formats/codebooks.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  float d = read_half(block);
  for (int i = 0; i < 8; i++) {
    const uint8_t* entries = block + 2 + i * 8;
    uint32_t signs = read_u16(entries + 4) | uint32_t(read_u16(entries + 6)) << 16;
    float dl = d * (0.5f + float(signs >> 28)) * 0.25f;
    for (int j = 0; j < 32; j++)
      values[i * 32 + j] = with_sign(dl * iq2_level(codebook_iq2_xxs[entries[j / 8]], j % 8),
                                     eight_signs(signs >> (j / 8 * 7) & 127), j % 8);
  }
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks + 2, 64);
  std::memcpy(tail, blocks, 2);
}

extern constinit const Format format_iq2_xxs = {"IQ2_XXS", 16, 256, 66, 256, 4, 2, decode, split, nullptr,
                                                codebook_iq2_xxs, 256};

}  // namespace vkmoe
