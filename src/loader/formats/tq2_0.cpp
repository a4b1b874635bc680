// TQ2_0: 256 values d * (q - 1); a block is 64 bytes of pairs as in Q2_K, then d (binary16).
#include "loader/format.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static void unpack(const uint8_t* block, uint8_t* q) {
  for (int i = 0; i < 256; i++) q[i] = block[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
}

static void decode(const uint8_t* block, float* values) {
  uint8_t q[256];
  unpack(block, q);
  float d = read_half(block + 64);
  for (int i = 0; i < 256; i++) values[i] = d * float(int(q[i]) - 1);
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  uint8_t q[256];
  unpack(blocks, q);
  for (int i = 0; i < 8; i++) pack_pairs(q + i * 32, quads + i * 8);
  std::memcpy(tail, blocks + 64, 2);
}

extern constinit const Format format_tq2_0 = {"TQ2_0", 35, 256, 66, 256, 4, 2, decode, split};

}  // namespace vkmoe
