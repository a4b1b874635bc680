// y = x / sqrt(mean(x^2) + epsilon) * weight, or y += that, by row (Zhang & Sennrich 2019). A workgroup owns one row.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/layer.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;

layout(binding = 0) readonly buffer X { float x[]; };            // (rows, stride) f32
layout(binding = 1) readonly buffer Weight { float weight[]; };  // (width) f32
layout(binding = 2) buffer Y { float y[]; };           // (rows, stride) f32
layout(push_constant) uniform Push { NormParams p; };

#include "lib/reduce.glsl"
#include "lib/rms.glsl"

void main() {
  uint from = (p.x_first + gl_WorkGroupID.x) * p.stride, to = gl_WorkGroupID.x * p.stride;
  precise float squares = 0.0;
  for (uint i = gl_LocalInvocationID.x; i < p.width; i += LANES) squares = fma(x[from + i], x[from + i], squares);
  float scale = rms_scale(workgroup_sum(squares), p.width, p.epsilon);
  for (uint i = gl_LocalInvocationID.x; i < p.width; i += LANES) {
    precise float normed = x[from + i] * scale * weight[i];
    y[to + i] = p.add != 0 ? y[to + i] + normed : normed;
  }
}
