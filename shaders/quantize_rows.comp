// Rows of x as int8 with a scale for each 32 values: value = scale * integer, with scale = (largest magnitude) / 127, as
// ggml's Q8_1. For matmul_int8.comp, which adds products of integers. An invocation makes 32 values.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "shared/matmul.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(binding = 0) readonly buffer X { vec4 x[]; };     // (n_rows, x_stride) f32
layout(binding = 1) writeonly buffer Y { uvec4 y[]; };   // (n_rows, blocks, INT8_QUADS)
layout(push_constant) uniform Push { QuantizeParams p; };

void main() {
  uint at = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * LANES + gl_LocalInvocationID.x;
  if (at >= p.n_rows * p.blocks) return;
  uint first = at / p.blocks * p.x_stride + at % p.blocks * 8;
  vec4 values[8], most = vec4(0);
  bool finite = true;
  [[unroll]] for (uint i = 0; i < 8; ++i) {
    values[i] = x[first + i];
    most = max(most, abs(values[i]));
    finite = finite && all(lessThan(floatBitsToUint(values[i]) & 0x7fffffffu, uvec4(0x7f800000u)));
  }
  float largest = max(max(most.x, most.y), max(most.z, most.w));
  // What is not finite stays so in every product; what is so small that a scale would be a denormal, which may be flushed,
  // is zero.
  float scale = largest * (1.0 / 127.0), inverse = 0;
  if (largest > 1e-35) inverse = 127.0 / largest;
  else scale = 0;
  if (!finite) scale = uintBitsToFloat(0x7fc00000u);
  uint words[8];
  ivec2 sums = ivec2(0);
  [[unroll]] for (uint i = 0; i < 8; ++i) {
    ivec4 v = finite ? clamp(ivec4(roundEven(values[i] * inverse)), -127, 127) : ivec4(0);
    sums[i >> 2] += v.x + v.y + v.z + v.w;
    words[i] = uint(v.x & 255) | uint(v.y & 255) << 8 | uint(v.z & 255) << 16 | uint(v.w & 255) << 24;
  }
  uint to = at * INT8_QUADS;
  y[to] = uvec4(words[0], words[1], words[2], words[3]);
  y[to + 1] = uvec4(words[4], words[5], words[6], words[7]);
  y[to + 2] = floatBitsToUint(scale * vec4(1, sums.x, sums.y, sums.x + sums.y));
}
