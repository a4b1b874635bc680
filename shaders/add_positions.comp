// Sinusoidal positions (Vaswani et al. 2017) after the embedding: x[t] += table[p], where p counts the tokens up to t that
// are no padding; padding itself gets row 0, which is zero (fairseq, NLLB). A workgroup owns one token.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/layer.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;

layout(binding = 0) readonly buffer StepState { Step step_state; };
layout(binding = 1) readonly buffer Tokens { uint tokens[]; };  // (n_tokens) u32
layout(binding = 2) readonly buffer Table { float table[]; };   // (1 + positions, width) f32
layout(binding = 3) buffer X { float x[]; };                    // (n_tokens, stride) f32
layout(push_constant) uniform Push { PositionParams p; };

void main() {
  uint token = gl_WorkGroupID.x, row = 0;
  if (tokens[token] != p.padding_id) {
    row = step_state.position;
    for (uint i = 0; i <= token; ++i) row += uint(tokens[i] != p.padding_id);
  }
  for (uint i = gl_LocalInvocationID.x; i < p.width; i += LANES) x[token * p.stride + i] += table[row * p.width + i];
}
