// Whether the device's unpackHalf2x16 is exact: it may flush denormals to zero, and its compiler need not say so. Each
// invocation compares one word of two numbers, all of fp16 in all, NaNs left out. Run when a device is opened.
#version 450
#extension GL_GOOGLE_include_directive : require

layout(local_size_x = 128) in;
layout(binding = 0) writeonly buffer Exact { uint exact[]; };  // (65,536 / 2) 1: both numbers are
const uint EXACT_HALVES = 0;

#include "lib/half.glsl"

void main() {
  uint i = gl_GlobalInvocationID.x, w = 2 * i | (2 * i + 1) << 16;
  bool nan = (w & 0x7fffu) > 0x7c00u || (w >> 16 & 0x7fffu) > 0x7c00u;
  bvec2 same = equal(floatBitsToUint(unpackHalf2x16(w)), floatBitsToUint(half2_to_float(w)));
  exact[i] = uint(nan || all(same));
}
