// IQ4_XS: 256 values (d * (scale - 32)) * level[q], scale of each 32. A block is d (binary16), the high two bits of
// eight scales (16 bits), their low four bits (4 bytes), then eight times 16 bytes as in Q4_0.
#include "loader/format.h"
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

extern constinit const Format format_iq4_xs = {"IQ4_XS", 23, 256, 136, 256, 8, 8, decode, split};

}  // namespace vkmoe
