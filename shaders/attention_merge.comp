// Merges the partial results that attention.comp left for each block of keys. A workgroup owns one head of one token.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/layer.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 32;

layout(binding = 0) readonly buffer StepState { Step step_state; };
layout(binding = 1) readonly buffer Partials { vec4 partials[]; };  // (n_tokens, n_heads, max_blocks, 1 + value_dim / 4, 4)
layout(binding = 2) writeonly buffer Out { vec4 outs[]; };          // (n_tokens, out_stride) f32
layout(binding = 3) readonly buffer Sinks { float sinks[]; };       // (n_heads) f32, read when p.has_sinks
layout(push_constant) uniform Push { AttentionParams p; };

#include "lib/key_span.glsl"
#include "lib/softmax_merge.glsl"

void main() {
  uint head = gl_WorkGroupID.x, token = gl_WorkGroupID.y, dim4 = p.value_dim / 4;
  uint at = step_state.position + token, n_blocks = at / KEY_BLOCK + 1;
  uint first = (token * p.n_heads + head) * p.max_blocks * (1 + dim4);
  for (uint column = gl_LocalInvocationID.x; column < dim4; column += LANES) {
    Running running = Running(MINUS_INFINITY, 0.0);
    vec4 sum = vec4(0.0);
    for (uint block = first_visible_key(p.span, at) / KEY_BLOCK; block < n_blocks; ++block) {
      vec4 head_of = partials[first + block * (1 + dim4)];
      if (head_of.x != MINUS_INFINITY)
        sum = merge_values(sum, partials[first + block * (1 + dim4) + 1 + column], merge_factors(running, head_of.x, head_of.y));
    }
    if (p.has_sinks != 0) sum = merge_values(sum, vec4(0.0), merge_factors(running, sinks[head], 1.0));
    outs[token * (p.out_stride / 4) + head * dim4 + column] = sum / running.l;
  }
}
