// The eight scales and minima of 6 bits each that Q4_K and Q5_K share.
#pragma once
#include <cstdint>

#include "loader/formats/pack.h"

namespace vkmoe {

struct KScales {
  uint8_t scales[8], minima[8];

  // 12 bytes: byte i of the first four holds scale i (and above it the high 2 bits of scale i + 4), of the next four
  // minimum i (and of minimum i + 4), of the last four the low 4 bits of scale i + 4 and minimum i + 4.
  explicit KScales(const uint8_t* bytes) {
    for (int i = 0; i < 4; i++) {
      scales[i] = bytes[i] & 63;
      minima[i] = bytes[4 + i] & 63;
      scales[i + 4] = uint8_t((bytes[8 + i] & 15) | bytes[i] >> 6 << 4);
      minima[i + 4] = uint8_t(bytes[8 + i] >> 4 | bytes[4 + i] >> 6 << 4);
    }
  }

  // The inverse: 8 scales and 8 minima below 64 -> 12 bytes.
  static void write(const uint8_t* scales, const uint8_t* minima, uint8_t* bytes) {
    for (int i = 0; i < 4; i++) {
      bytes[i] = uint8_t(scales[i] | scales[i + 4] >> 4 << 6);
      bytes[4 + i] = uint8_t(minima[i] | minima[i + 4] >> 4 << 6);
      bytes[8 + i] = uint8_t((scales[i + 4] & 15) | (minima[i + 4] & 15) << 4);
    }
  }

  // On the device: 12 bits for each 32 values, the scale lowest.
  void pack(uint8_t* out) const {
    uint16_t both[8];
    for (int i = 0; i < 8; i++) both[i] = uint16_t(scales[i] | minima[i] << 6);
    pack_12_bits(both, out);
  }
};

}  // namespace vkmoe
