// A plain streaming read, whose speed is the roofline of memory (src/moe/roofline.cpp): each invocation adds up the words of
// STREAM_READS quads, neighbours reading neighbours. With TEXELS as a uniform texel buffer: see lib/weights.glsl.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "shared/roofline.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;

#ifdef TEXELS
layout(binding = 0) uniform usamplerBuffer quad_texels;
uvec4 load_quad(uint i) { return texelFetch(quad_texels, int(i)); }
#else
layout(binding = 0) readonly buffer Quads { uvec4 quads[]; };
uvec4 load_quad(uint i) { return quads[i]; }
#endif
layout(binding = 1) writeonly buffer Sums { uint sums[]; };  // (invocations)

void main() {
  uint first = gl_WorkGroupID.x * LANES * STREAM_READS + gl_LocalInvocationID.x;
  uvec4 sum = uvec4(0);
  for (uint i = 0; i < STREAM_READS; i += 8) {
    [[unroll]] for (uint j = 0; j < 8; ++j) sum += load_quad(first + (i + j) * LANES);
  }
  sums[gl_GlobalInvocationID.x] = sum.x + sum.y + sum.z + sum.w;
}
