// IQ4_XS: 256 values (d * (scale - 32)) * level[q], scale of each 32. A block is d (binary16), the high two bits of
// eight scales (16 bits), their low four bits (4 bytes), then eight times 16 bytes as in Q4_0.
#include "loader/format.h"
#include "loader/formats/fit.h"
#include "loader/formats/pack.h"
#include "loader/formats/tables.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  float d = read_half(block);
  for (int i = 0; i < 8; i++) {
    int scale = (block[4 + i / 2] >> (i % 2 * 4) & 15) | (read_u16(block + 2) >> (2 * i) & 3) << 4;
    float dl = d * float(scale - 32);
    for (int j = 0; j < 16; j++) {
      values[i * 32 + j] = dl * float(iq4_levels[block[8 + i * 16 + j] & 15]);
      values[i * 32 + 16 + j] = dl * float(iq4_levels[block[8 + i * 16 + j] >> 4]);
    }
  }
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks + 8, 128);
  std::memcpy(tail, blocks, 8);
}

static bool encode(const float* values, uint8_t* block) {
  ScaledBlock k;
  if (!fit_scaled_block(values, 32, TableLevels{iq4_levels}, -32, 31, k)) return false;
  write_half(k.d, block);
  std::memset(block + 2, 0, 6);
  for (int i = 0; i < 8; i++) {
    int scale = k.scales[i] + 32;
    block[2 + i / 4] |= uint8_t(scale >> 4 << (i % 4 * 2));
    block[4 + i / 2] |= uint8_t((scale & 15) << (i % 2 * 4));
    uint8_t q[32];
    for (int j = 0; j < 32; j++) q[j] = uint8_t(k.q[i * 32 + j]);
    pack_nibbles(q, block + 8 + i * 16);
  }
  return true;
}

extern constinit const Format format_iq4_xs = {"IQ4_XS", 23, 256, 136, 256, 8, 8, decode, split, encode};

}  // namespace vkmoe
