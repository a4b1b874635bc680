// Values that four bits stand for; shaders/quant/tables.glsl has them too.
#pragma once
#include <cstdint>

namespace vkmoe {

// Twice the E2M1 values of MXFP4 and NVFP4.
inline constexpr int8_t e2m1_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// The levels of IQ4_NL and IQ4_XS.
inline constexpr int8_t iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

}  // namespace vkmoe
