// Queries and keys of one token and head: optional RMSNorm and bounds, rotary embedding (Su et al. 2021) with angles from
// a table made in double precision; queries go on to attention, keys and values into the cache.
// A workgroup owns one head of one token; heads are queries, then keys, then values.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/layer.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 32;
layout(constant_id = 1) const uint HALF_CACHE = 0;  // 1: keys and values are kept as fp16
layout(constant_id = 2) const uint KEY_DIM = 64;    // of these: head_dim

layout(binding = 0) readonly buffer StepState { Step step_state; };
layout(binding = 1) readonly buffer Qkv { float qkv[]; };         // (n_tokens, qkv_stride) f32
layout(binding = 2) readonly buffer Norms { float norms[]; };     // query norm, then key norm: a head or all heads each
layout(binding = 3) readonly buffer Angles { vec2 angles[]; };    // (capacity, rotary_dim / 2) cos, sin
layout(binding = 4) writeonly buffer Queries { float queries[]; }; // (n_tokens, n_heads, head_dim) f32
layout(binding = 5) writeonly buffer Keys { float keys[]; };      // (n_kv_heads, head_dim / 4, capacity, 4) f32 or fp16
layout(binding = 5) writeonly buffer HalfKeys { uvec2 half_keys[]; };
layout(binding = 6) writeonly buffer Values { float values[]; };  // (n_kv_heads, capacity, head_dim) f32 or fp16
layout(binding = 6) writeonly buffer HalfValues { uvec2 half_values[]; };
layout(push_constant) uniform Push { RopeParams p; };

#include "lib/half_key.glsl"
#include "lib/reduce.glsl"

uint head, row, position;
bool is_key;

float bounded(float v) { return p.clip > 0.0 ? clamp(v, -p.clip, p.clip) : v; }

float norm_weight(uint i) {
  if (p.norm == QK_NORM_FULL) return norms[head * p.head_dim + i];
  return norms[(is_key ? p.head_dim : 0) + i];
}

// Value i of this head on its way to the rotation; after it when that is where the norm belongs.
float before_rope(uint i, float norm_scale) {
  precise float v = qkv[row + head * p.head_dim + i];
  if (p.norm == QK_NORM_HEAD || p.norm == QK_NORM_FULL) v = v * norm_scale * norm_weight(i);
  return bounded(v);
}

void put(uint i, float rotated, float norm_scale) {
  precise float v = rotated;
  if (p.norm == QK_NORM_AFTER_ROPE) v = v * norm_scale * norm_weight(i);  // a rotation keeps the mean square
  if (is_key && HALF_CACHE != 0) key[i] = v;
  else if (is_key) keys[(((head - p.n_heads) * (p.head_dim / 4) + i / 4) * p.capacity + position) * 4 + i % 4] = v;
  else if (p.temperature_floor != 0) v *= 1.0 + p.temperature_scale * log(1.0 + float((position + 1) / p.temperature_floor));
  if (!is_key) queries[(gl_WorkGroupID.y * p.n_heads + head) * p.head_dim + i] = v;
}

void main() {
  uint lane = gl_LocalInvocationID.x;
  head = gl_WorkGroupID.x;
  position = step_state.position + gl_WorkGroupID.y;
  row = gl_WorkGroupID.y * p.qkv_stride;
  is_key = head >= p.n_heads;
  if (head >= p.n_heads + p.n_kv_heads) {
    uint to = ((head - p.n_heads - p.n_kv_heads) * p.capacity + position) * p.head_dim, from = row + head * p.head_dim;
    if (HALF_CACHE != 0) {
      for (uint i = lane; i < p.head_dim / 4; i += LANES) {
        vec4 v;
        for (uint j = 0; j < 4; ++j) v[j] = bounded(qkv[from + i * 4 + j]);
        half_values[to / 4 + i] = packed_halves(v);
      }
    } else {
      for (uint i = lane; i < p.head_dim; i += LANES) values[to + i] = bounded(qkv[from + i]);
    }
  } else {
    float norm_scale = 1.0;
    if (p.norm != QK_NORM_NONE) {
      uint first = head * p.head_dim, width = p.head_dim;
      if (p.norm == QK_NORM_FULL) {
        first = is_key ? p.n_heads * p.head_dim : 0;
        width = (is_key ? p.n_kv_heads : p.n_heads) * p.head_dim;
      }
      precise float squares = 0.0;
      for (uint i = lane; i < width; i += LANES) {
        float v = qkv[row + first + i];
        if (p.norm == QK_NORM_AFTER_ROPE) v = bounded(v);
        squares = fma(v, v, squares);
      }
      norm_scale = 1.0 / sqrt(workgroup_sum(squares) / float(width) + p.epsilon);
    }
    uint pairs = p.rotary_dim / 2;
    for (uint i = lane; i < pairs; i += LANES) {
      uint first = p.interleaved != 0 ? 2 * i : i, second = p.interleaved != 0 ? 2 * i + 1 : i + pairs;
      vec2 turn = angles[position * pairs + i];
      float a = before_rope(first, norm_scale), b = before_rope(second, norm_scale);
      precise float turned_a = a * turn.x - b * turn.y, turned_b = b * turn.x + a * turn.y;
      put(first, turned_a, norm_scale);
      put(second, turned_b, norm_scale);
    }
    for (uint i = p.rotary_dim + lane; i < p.head_dim; i += LANES) put(i, before_rope(i, norm_scale), norm_scale);
    if (HALF_CACHE == 0 || !is_key) return;  // the whole workgroup does
    barrier();
    for (uint i = lane; i < p.head_dim / 4; i += LANES)
      half_keys[((head - p.n_heads) * (p.head_dim / 4) + i) * p.capacity + position] = packed_key(i);
  }
}
