// MXFP4 (OCP Microscaling 1.0): 32 values 2^(e - 127) * E2M1; a block is e, then 16 bytes as in Q4_0. E2M1 is doubled
// to make it an integer and 2^(e - 128) taken for the scale, as in ggml.
#include "loader/format.h"
#include "loader/formats/pack.h"
#include "loader/formats/tables.h"

namespace vkmoe {

static void decode(const uint8_t* block, float* values) {
  int e = block[0];
  float d = bits_to_float(e < 2 ? 0x00200000u << e : uint32_t(e - 1) << 23);  // denormal below 2^-126
  for (int i = 0; i < 16; i++) {
    values[i] = d * float(e2m1_doubled[block[1 + i] & 15]);
    values[i + 16] = d * float(e2m1_doubled[block[1 + i] >> 4]);
  }
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks + 1, 16);
  tail[0] = blocks[0];
}

extern constinit const Format format_mxfp4 = {"MXFP4", 39, 32, 17, 32, 1, 1, decode, split};

}  // namespace vkmoe
