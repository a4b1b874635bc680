// Rows of x as fp16 with one power of two a row as scale: value = scale * half. The largest magnitude comes to lie in
// [2^14, 2^15), so nothing overflows, and what is 2^-28 of it is still a normal number. Rounded to nearest on bits. For
// matmul_coopmat.comp. A workgroup makes a row.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "shared/matmul.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(binding = 0) readonly buffer X { vec4 x[]; };    // (n_rows, x_stride) f32
layout(binding = 1) writeonly buffer Y { uvec4 y[]; };  // (n_rows, blocks * HALF_QUADS + 1)
layout(push_constant) uniform Push { QuantizeParams p; };

shared uint most[LANES];  // magnitudes as bits, which are ordered as the values

#include "lib/to_half.glsl"

void main() {
  uint row = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, lane = gl_LocalInvocationID.x;
  if (row >= p.n_rows) return;  // the whole workgroup does
  uint from = row * p.x_stride, quads = p.blocks * 8, own = 0;
  for (uint i = lane; i < quads; i += LANES) {
    uvec4 magnitude = floatBitsToUint(x[from + i]) & 0x7fffffffu;
    own = max(own, max(max(magnitude.x, magnitude.y), max(magnitude.z, magnitude.w)));
  }
  most[lane] = own;
  barrier();
  uint largest = 0;
  for (uint i = 0; i < LANES; ++i) largest = max(largest, most[i]);
  // 2^14 over the largest's power of two. What is not finite stays so in every product; a row so small that its scale would
  // be a denormal, which may be flushed, is zero.
  uint exponent = largest >> 23;
  bool finite = exponent < 255, tiny = exponent < 16;
  float scale = uintBitsToFloat(finite ? tiny ? 0u : exponent - 14 << 23 : 0x7fc00000u);
  float inverse = finite && !tiny ? uintBitsToFloat(268 - exponent << 23) : 0.0;
  uint to = row * (p.blocks * HALF_QUADS + 1);
  for (uint i = lane; i < p.blocks * HALF_QUADS; i += LANES) {
    vec4 a = finite ? x[from + 2 * i] * inverse : vec4(0), b = finite ? x[from + 2 * i + 1] * inverse : vec4(0);
    y[to + i] = uvec4(packed_halves(a), packed_halves(b));
  }
  if (lane == 0) y[to + p.blocks * HALF_QUADS] = uvec4(floatBitsToUint(scale), 0, 0, 0);
}
