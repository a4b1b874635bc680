// Adds the chosen experts' outputs to the residual stream, in the order of their rank: x += scale * sum_j w_j y[slot_j]
// (or x =, before a norm), and writes the next layer's norm of it (rmsnorm.comp) where p.norm is set.
// A workgroup owns one token, an invocation every LANES-th four columns.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "shared/route.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;

layout(binding = 0) buffer X { vec4 x[]; };                       // (n_tokens, x_stride4) f32
layout(binding = 1) readonly buffer Y { vec4 y[]; };              // (slots, stride4) f32
layout(binding = 2) readonly buffer Weights { float weights[]; };  // (n_tokens, top_k) f32
layout(binding = 3) readonly buffer SlotOf { uint slot_of[]; };   // (n_tokens, top_k) u32
layout(binding = 4) readonly buffer NormWeight { vec4 norm_weight[]; };  // (width) f32, read when p.norm
layout(binding = 5) writeonly buffer Normed { vec4 normed[]; };   // (n_tokens, x_stride4) f32, written when p.norm
layout(push_constant) uniform Push { CombineParams p; };

#include "lib/reduce.glsl"
#include "lib/rms.glsl"

void main() {
  uint token = gl_WorkGroupID.x, from = token * p.x_stride4, width4 = (p.width + 3) / 4;  // the last may reach into padding
  precise float squares = 0.0;
  for (uint column = gl_LocalInvocationID.x; column < width4; column += LANES) {
    precise vec4 sum = vec4(0.0);
    for (uint j = 0; j < p.top_k; ++j) {
      uint assignment = token * p.top_k + j;
      uint slot = p.direct != 0 ? assignment : slot_of[assignment];
      if (slot == NO_EXPERT) continue;
      sum = fma(vec4(p.weighted != 0 ? weights[assignment] : 1.0), y[slot * p.stride4 + column], sum);
    }
    precise vec4 value = p.add != 0 ? x[from + column] + p.scale * sum : p.scale * sum;
    x[from + column] = value;
    [[unroll]] for (uint i = 0; i < 4; ++i) squares = fma(value[i], value[i], squares);  // padding is 0
  }
  if (p.norm == 0) return;
  float scale = rms_scale(workgroup_sum(squares), p.width, p.epsilon);
  for (uint column = gl_LocalInvocationID.x; column < width4; column += LANES) {
    precise vec4 value = x[from + column] * scale * norm_weight[column];  // this invocation's own
    bvec4 there = lessThan(uvec4(column * 4) + uvec4(0, 1, 2, 3), uvec4(p.width));
    normed[from + column] = mix(vec4(0.0), value, there);
  }
}
