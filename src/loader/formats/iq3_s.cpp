// IQ3_S: 256 values. A block is d (binary16), 64 bytes (the low 8 bits of the codebook entries of 4 values each), 8
// bytes with the entries' ninth bits, 32 bytes of signs, 4 bytes with the 4-bit scales of 32 values each. value = d *
// (1 + 2 * scale) * level.
#include "loader/format.h"
#include "loader/formats/codebooks.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  float d = read_half(block);
  for (int i = 0; i < 256; i++) {
    uint32_t high = block[66 + i / 32] >> (i / 4 % 8) & 1, scale = block[106 + i / 64] >> (i / 32 % 2 * 4) & 15;
    float dl = d * float(1 + 2 * scale);
    float level = iq3_level(codebook_iq3_s[block[2 + i / 4] | high << 8], i % 4);
    values[i] = with_sign(dl * level, block[74 + i / 8], i % 8);
  }
}

// Four quads of entries, two of signs; d, ninth bits and scales in the tail.
static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks + 2, 64);
  std::memcpy(quads + 64, blocks + 74, 32);
  std::memcpy(tail, blocks, 2);
  std::memcpy(tail + 2, blocks + 66, 8);
  std::memcpy(tail + 10, blocks + 106, 4);
}

extern constinit const Format format_iq3_s = {"IQ3_S", 21, 256, 110, 256, 6, 14, decode, split, nullptr, codebook_iq3_s, 512};

}  // namespace vkmoe
