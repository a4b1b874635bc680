// y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias, by row (Ba et al. 2016). A workgroup owns one row.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/layer.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;

layout(binding = 0) readonly buffer X { float x[]; };            // (rows, stride) f32
layout(binding = 1) readonly buffer Weight { float weight[]; };  // (2, width) f32: weights, then biases
layout(binding = 2) writeonly buffer Y { float y[]; };           // (rows, stride) f32
layout(push_constant) uniform Push { NormParams p; };

#include "lib/reduce.glsl"

void main() {
  uint from = (p.x_first + gl_WorkGroupID.x) * p.stride, to = gl_WorkGroupID.x * p.stride;
  precise float sum = 0.0;
  for (uint i = gl_LocalInvocationID.x; i < p.width; i += LANES) sum += x[from + i];
  precise float mean = workgroup_sum(sum) / float(p.width);
  precise float squares = 0.0;
  for (uint i = gl_LocalInvocationID.x; i < p.width; i += LANES) {
    precise float off = x[from + i] - mean;
    squares = fma(off, off, squares);
  }
  precise float scale = 1.0 / sqrt(workgroup_sum(squares) / float(p.width) + p.epsilon);
  for (uint i = gl_LocalInvocationID.x; i < p.width; i += LANES) {
    precise float normed = fma((x[from + i] - mean) * scale, weight[i], weight[p.width + i]);
    y[to + i] = normed;
  }
}
