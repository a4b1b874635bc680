// Codebooks of the IQ types: what an index stands for. On the device they lie behind the weights (Format::codebook).
#pragma once
#include <cstdint>

namespace vkmoe {

// Eight values an entry: codes 0, 1, 2 in nibbles, value v in the low, v + 4 in the high half of byte v. A code c
// stands for 8, 25, 43 in IQ2 and for c - 1 in IQ1.
extern const uint32_t codebook_iq2_xxs[256], codebook_iq2_xs[512], codebook_iq2_s[1024], codebook_iq1[2048];
// Four values an entry, as bytes.
extern const uint32_t codebook_iq3_xxs[256], codebook_iq3_s[512];

inline int nibble_of_entry(uint32_t entry, int i) { return entry >> (i % 4 * 8 + i / 4 * 4) & 15; }
inline float iq2_level(uint32_t entry, int i) {
  constexpr float levels[16] = {8, 25, 43};
  return levels[nibble_of_entry(entry, i)];
}
inline float iq1_level(uint32_t entry, int i) { return float(nibble_of_entry(entry, i) - 1); }
inline float iq3_level(uint32_t entry, int i) { return float(entry >> (i * 8) & 255); }

// IQ2_XXS, IQ2_XS and IQ3_XXS store seven of eight signs; the number of minuses is even.
inline uint8_t eight_signs(uint32_t seven) { return uint8_t(seven | uint32_t(__builtin_parity(seven)) << 7); }
inline float with_sign(float value, uint8_t signs, int i) { return signs >> i & 1 ? -value : value; }

}  // namespace vkmoe
