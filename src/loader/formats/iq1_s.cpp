// IQ1_S: 256 values. A block is d (binary16), 32 bytes (the low 8 bits of the codebook entries of 8 values each),
// then for each 32 values 16 bits: four times the entries' high 3 bits, a 3-bit scale, the sign of the shift by 1/8.
// value = d * (2 * scale + 1) * (level + shift).
#include "loader/format.h"
#include "loader/formats/codebooks.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  float d = read_half(block);
  for (int i = 0; i < 256; i++) {
    uint32_t bits = read_u16(block + 34 + i / 32 * 2), high = bits >> (i / 8 % 4 * 3) & 7;
    float dl = d * float(2 * (bits >> 12 & 7) + 1), shift = bits & 0x8000 ? -0.125f : 0.125f;
    values[i] = dl * (iq1_level(codebook_iq1[block[2 + i / 8] | high << 8], i % 8) + shift);
  }
}

// Two quads of entries, one of the 16 bits; d in the tail.
static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks + 2, 48);
  std::memcpy(tail, blocks, 2);
}

extern constinit const Format format_iq1_s = {"IQ1_S", 19, 256, 50, 256, 3, 2, decode, split, nullptr, codebook_iq1, 2048};

}  // namespace vkmoe
