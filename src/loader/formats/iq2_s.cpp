// IQ2_S: 256 values. A block is d (binary16), 32 bytes (the low 8 bits of the codebook entries of 8 values each), 32
// bytes of signs, 8 bytes with the entries' high 2 bits, 8 with the 4-bit scales of 16 values each. value = d * (0.5
// + scale) * 0.25 * level.
#include "loader/format.h"
#include "loader/formats/codebooks.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  float d = read_half(block);
  for (int i = 0; i < 256; i++) {
    uint32_t high = block[66 + i / 32] >> (i / 8 % 4 * 2) & 3, scale = block[74 + i / 32] >> (i / 16 % 2 * 4) & 15;
    float dl = d * (0.5f + float(scale)) * 0.25f;
    float level = iq2_level(codebook_iq2_s[block[2 + i / 8] | high << 8], i % 8);
    values[i] = with_sign(dl * level, block[34 + i / 8], i % 8);
  }
}

// Four quads: entries and signs of each 32 values side by side; one: high bits and scales; d in the tail.
static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  for (int i = 0; i < 8; i++) {
    std::memcpy(quads + i * 8, blocks + 2 + i * 4, 4);
    std::memcpy(quads + i * 8 + 4, blocks + 34 + i * 4, 4);
  }
  std::memcpy(quads + 64, blocks + 66, 16);
  std::memcpy(tail, blocks, 2);
}

extern constinit const Format format_iq2_s = {"IQ2_S", 22, 256, 82, 256, 5, 2, decode, split, nullptr, codebook_iq2_s, 1024};

}  // namespace vkmoe
