// IQ4_NL: 32 values d * level[q]; a block is laid out as in Q4_0.
#include "loader/format.h"
#include "loader/formats/fit.h"
#include "loader/formats/pack.h"
#include "loader/formats/tables.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  float d = read_half(block);
  for (int i = 0; i < 16; i++) {
    values[i] = d * float(iq4_levels[block[2 + i] & 15]);
    values[i + 16] = d * float(iq4_levels[block[2 + i] >> 4]);
  }
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks + 2, 16);
  std::memcpy(tail, blocks, 2);
}

static bool encode(const float* values, uint8_t* block) {
  if (!(largest(values, 32) <= half_max)) return false;
  TableLevels levels{iq4_levels};
  float d = write_half(fit_scale(values, 32, levels), block);
  uint8_t q[32];
  for (int i = 0; i < 32; i++) q[i] = uint8_t(levels.index(d == 0 ? 0 : values[i] / d));
  pack_nibbles(q, block + 2);
  return true;
}

extern constinit const Format format_iq4_nl = {"IQ4_NL", 20, 32, 18, 32, 1, 2, decode, split, encode};

}  // namespace vkmoe
