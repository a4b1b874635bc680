// Q8_0: 32 values d * q; a block is d (binary16), then 32 int8.
#include <cstring>

#include "base/numeric.h"
#include "loader/format.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  uint16_t half;
  std::memcpy(&half, block, 2);
  float d = half_to_float(half);
  for (int i = 0; i < 32; i++) values[i] = d * float(int8_t(block[2 + i]));
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks + 2, 32);
  std::memcpy(tail, blocks, 2);
}

extern constinit const Format format_q8_0 = {"Q8_0", 8, 32, 34, 32, 2, 2, decode, split};

}  // namespace vkmoe
