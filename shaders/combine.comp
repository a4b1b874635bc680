// Adds the chosen experts' outputs to the residual stream, in the order of their rank: x += scale * sum_j w_j y[slot_j]
// (or x =, before a norm).
// An invocation owns four columns of one token.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/route.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;

layout(binding = 0) buffer X { vec4 x[]; };                       // (n_tokens, x_stride4) f32
layout(binding = 1) readonly buffer Y { vec4 y[]; };              // (slots, stride4) f32
layout(binding = 2) readonly buffer Weights { float weights[]; };  // (n_tokens, top_k) f32
layout(binding = 3) readonly buffer SlotOf { uint slot_of[]; };   // (n_tokens, top_k) u32
layout(push_constant) uniform Push { CombineParams p; };

void main() {
  uint column = gl_WorkGroupID.x * LANES + gl_LocalInvocationID.x, token = gl_WorkGroupID.y;
  if (column < p.width4) {
    precise vec4 sum = vec4(0.0);
    for (uint j = 0; j < p.top_k; ++j) {
      uint assignment = token * p.top_k + j;
      uint slot = p.direct != 0 ? assignment : slot_of[assignment];
      if (slot == NO_EXPERT) continue;
      sum = fma(vec4(p.weighted != 0 ? weights[assignment] : 1.0), y[slot * p.stride4 + column], sum);
    }
    uint to = token * p.x_stride4 + column;
    x[to] = p.add != 0 ? x[to] + p.scale * sum : p.scale * sum;
  }
}
