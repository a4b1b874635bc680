// IQ3_XXS: 256 values. A block is d (binary16), 64 bytes (codebook entries of 4 values each), then for each 32 values
// 32 bits: four times 7 signs, a 4-bit scale. value = d * (0.5 + scale) * 0.5 * level.
#include "loader/format.h"
#include "loader/formats/codebooks.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  float d = read_half(block);
  for (int i = 0; i < 256; i++) {
    const uint8_t* at = block + 66 + i / 32 * 4;
    uint32_t signs = read_u16(at) | uint32_t(read_u16(at + 2)) << 16;
    float dl = d * (0.5f + float(signs >> 28)) * 0.5f;
    values[i] = with_sign(dl * iq3_level(codebook_iq3_xxs[block[2 + i / 4]], i % 4),
                          eight_signs(signs >> (i / 8 % 4 * 7) & 127), i % 8);
  }
}

// Four quads of entries, two of signs and scales; d in the tail.
static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks + 2, 96);
  std::memcpy(tail, blocks, 2);
}

extern constinit const Format format_iq3_xxs = {"IQ3_XXS", 18, 256, 98, 256, 6, 2, decode, split, nullptr,
                                                codebook_iq3_xxs, 256};

}  // namespace vkmoe
