// Plain fused multiply-adds on values in registers, whose speed is the roofline of arithmetic (src/moe/roofline.cpp):
// v = v * factor + addend, rounds * MULTIPLY_ADD_STEPS times.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "shared/roofline.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;

layout(binding = 0) buffer Values { vec4 values[]; };  // (invocations, MULTIPLY_ADD_VALUES)
layout(push_constant) uniform Push { MultiplyAddParams p; };

void main() {
  uint at = gl_GlobalInvocationID.x * (MULTIPLY_ADD_VALUES / 4);
  vec4 factor = vec4(p.factor), addend = vec4(p.addend), v[MULTIPLY_ADD_VALUES / 4];
  [[unroll]] for (uint i = 0; i < MULTIPLY_ADD_VALUES / 4; ++i) v[i] = values[at + i];
  for (uint round = 0; round < p.rounds; ++round) {
    [[unroll]] for (uint step = 0; step < MULTIPLY_ADD_STEPS; ++step) {
      [[unroll]] for (uint i = 0; i < MULTIPLY_ADD_VALUES / 4; ++i) v[i] = fma(v[i], factor, addend);
    }
  }
  [[unroll]] for (uint i = 0; i < MULTIPLY_ADD_VALUES / 4; ++i) values[at + i] = v[i];
}
