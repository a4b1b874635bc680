// IQ1_M: 256 values. A block is 32 bytes (the low 8 bits of the codebook entries of 8 values each), 16 bytes with a
// nibble for each entry: its high 3 bits, the sign of the shift by 1/8; then 4 times 16 bits: four 3-bit scales of 16
// values each and a quarter of d (binary16), lowest first. value = d * (2 * scale + 1) * (level + shift).
#include "loader/format.h"
#include "loader/formats/codebooks.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static uint16_t scale_of_block(const uint8_t* scales) {
  uint32_t d = 0;
  for (int i = 0; i < 4; i++) d |= uint32_t(read_u16(scales + 2 * i) >> 12) << 4 * i;
  return uint16_t(d);
}

static void decode(const uint8_t* block, float* values) {
  const uint8_t* scales = block + 48;
  float d = half_to_float(scale_of_block(scales));
  for (int i = 0; i < 256; i++) {
    uint32_t bits = block[32 + i / 16] >> (i / 8 % 2 * 4) & 15;
    float dl = d * float(2 * (read_u16(scales + i / 64 * 2) >> (i / 16 % 4 * 3) & 7) + 1);
    float shift = bits & 8 ? -0.125f : 0.125f;
    values[i] = dl * (iq1_level(codebook_iq1[block[i / 8] | (bits & 7) << 8], i % 8) + shift);
  }
}

// Two quads of entries, one of nibbles; in the tail d, then the two scales of each 32 values: their high 2, their low
// 4 bits.
static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks, 48);
  const uint8_t* scales = blocks + 48;
  uint16_t d = scale_of_block(scales), high = 0;
  uint32_t low = 0;
  for (int i = 0; i < 8; i++) {
    uint32_t both = read_u16(scales + i / 2 * 2) >> (i % 2 * 6) & 63;
    low |= (both & 15) << 4 * i;
    high |= uint16_t(both >> 4 << 2 * i);
  }
  std::memcpy(tail, &d, 2);
  std::memcpy(tail + 2, &high, 2);
  std::memcpy(tail + 4, &low, 4);
}

extern constinit const Format format_iq1_m = {"IQ1_M", 29, 256, 56, 256, 3, 8, decode, split, nullptr, codebook_iq1, 2048};

}  // namespace vkmoe
