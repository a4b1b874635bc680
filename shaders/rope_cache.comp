// Queries and keys of one token and head: optional RMSNorm per head, rotary embedding (Su et al. 2021) with angles from
// a table made in double precision; queries go on to attention, keys and values into the cache.
// A workgroup owns one head of one token; heads are queries, then keys, then values.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/layer.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 32;

layout(binding = 0) readonly buffer StepState { Step step_state; };
layout(binding = 1) readonly buffer Qkv { float qkv[]; };         // (n_tokens, qkv_stride) f32
layout(binding = 2) readonly buffer Norms { float norms[]; };     // (2, head_dim) f32: query norm, key norm
layout(binding = 3) readonly buffer Angles { vec2 angles[]; };    // (capacity, rotary_dim / 2) cos, sin
layout(binding = 4) writeonly buffer Queries { float queries[]; }; // (n_tokens, n_heads, head_dim) f32
layout(binding = 5) writeonly buffer Keys { float keys[]; };      // (n_kv_heads, head_dim / 4, capacity, 4) f32
layout(binding = 6) writeonly buffer Values { float values[]; };  // (n_kv_heads, capacity, head_dim) f32
layout(push_constant) uniform Push { RopeParams p; };

#include "lib/reduce.glsl"

uint head, from, position;
bool is_key;

float normed(uint i, float norm_scale) {
  precise float v = qkv[from + i];
  if (p.norm != 0) v = v * norm_scale * norms[(is_key ? p.head_dim : 0) + i];
  return v;
}

void put(uint i, float v) {
  if (is_key) keys[(((head - p.n_heads) * (p.head_dim / 4) + i / 4) * p.capacity + position) * 4 + i % 4] = v;
  else queries[(gl_WorkGroupID.y * p.n_heads + head) * p.head_dim + i] = v;
}

void main() {
  uint lane = gl_LocalInvocationID.x;
  head = gl_WorkGroupID.x;
  position = step_state.position + gl_WorkGroupID.y;
  from = gl_WorkGroupID.y * p.qkv_stride + head * p.head_dim;
  is_key = head >= p.n_heads;
  if (head >= p.n_heads + p.n_kv_heads) {
    uint to = ((head - p.n_heads - p.n_kv_heads) * p.capacity + position) * p.head_dim;
    for (uint i = lane; i < p.head_dim; i += LANES) values[to + i] = qkv[from + i];
  } else {
    float norm_scale = 1.0;
    if (p.norm != 0) {
      precise float squares = 0.0;
      for (uint i = lane; i < p.head_dim; i += LANES) squares = fma(qkv[from + i], qkv[from + i], squares);
      norm_scale = 1.0 / sqrt(workgroup_sum(squares) / float(p.head_dim) + p.epsilon);
    }
    uint pairs = p.rotary_dim / 2;
    for (uint i = lane; i < pairs; i += LANES) {
      uint first = p.interleaved != 0 ? 2 * i : i, second = p.interleaved != 0 ? 2 * i + 1 : i + pairs;
      vec2 turn = angles[position * pairs + i];
      float a = normed(first, norm_scale), b = normed(second, norm_scale);
      precise float turned_a = a * turn.x - b * turn.y, turned_b = b * turn.x + a * turn.y;
      put(first, turned_a);
      put(second, turned_b);
    }
    for (uint i = p.rotary_dim + lane; i < p.head_dim; i += LANES) put(i, normed(i, norm_scale));
  }
}
