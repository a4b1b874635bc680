// Whether the device's unpackHalf2x16 is exact, or with STORAGE16 defined its conversion of fp16 that it loads: they may flush
// denormals to zero, and its compiler need not say so. Each invocation compares one word of two numbers, all of fp16 in all,
// NaNs left out. Run when a device is opened.
#version 450
#ifdef STORAGE16
#extension GL_EXT_shader_16bit_storage : require
#endif
#extension GL_GOOGLE_include_directive : require

layout(local_size_x = 128) in;
layout(binding = 0) writeonly buffer Exact { uint exact[]; };  // (65,536 / 2) 1: both numbers are
#ifdef STORAGE16
layout(binding = 1) readonly buffer Halves { f16vec2 halves[]; };  // (65,536 / 2) all numbers in order
#endif
const uint EXACT_HALVES = 0;

#include "lib/half.glsl"

void main() {
  uint i = gl_GlobalInvocationID.x, w = 2 * i | (2 * i + 1) << 16;
  bool nan = (w & 0x7fffu) > 0x7c00u || (w >> 16 & 0x7fffu) > 0x7c00u;
#ifdef STORAGE16
  vec2 converted = vec2(halves[i]);
#else
  vec2 converted = unpackHalf2x16(w);
#endif
  bvec2 same = equal(floatBitsToUint(converted), floatBitsToUint(half2_to_float(w)));
  exact[i] = uint(nan || all(same));
}
