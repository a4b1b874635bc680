// TQ1_0: 256 values d * t, t of -1, 0, 1, five to a byte in base 3: a byte is the ceiling of 256 * 0.abcde, so that
// digit n is (byte * 3^n mod 256) * 3 / 256. A block is 32 bytes (digit n of byte i is value 32n + i), 16 bytes (160
// + 16n + i), 4 bytes of four digits (240 + 4n + i), d (binary16).
#include "loader/format.h"
#include "loader/formats/pack.h"

namespace vkmoe {

static int digit(uint8_t byte, int n) {
  static const int powers[5] = {1, 3, 9, 27, 81};
  return (byte * powers[n] & 255) * 3 >> 8;
}

static void decode(const uint8_t* block, float* values) {
  float d = read_half(block + 52);
  for (int i = 0; i < 256; i++) {
    int t = i < 160   ? digit(block[i % 32], i / 32)
            : i < 240 ? digit(block[32 + i % 16], (i - 160) / 16)
                      : digit(block[48 + i % 4], (i - 240) / 4);
    values[i] = d * float(t - 1);
  }
}

static void split(const uint8_t* blocks, uint8_t* quads, uint8_t* tail) {
  std::memcpy(quads, blocks, 48);
  std::memcpy(tail, blocks + 48, 6);
}

extern constinit const Format format_tq1_0 = {"TQ1_0", 34, 256, 54, 256, 3, 6, decode, split};

}  // namespace vkmoe
