// Multi-head latent attention (DeepSeek-V2, section 2.1): RMSNorm of a token's key-value latent and its rotated key part go
// to the cache, one after the other; the rotary parts of its queries are turned and put behind the absorbed ones.
// A workgroup owns one head of one token; the last one is the key that all heads share.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/layer.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 32;
layout(constant_id = 1) const uint HALF_CACHE = 0;  // 1: keys are kept as fp16
layout(constant_id = 2) const uint KEY_DIM = 64;    // of these: kv_rank + rotary_dim

layout(binding = 0) readonly buffer StepState { Step step_state; };
layout(binding = 1) readonly buffer Latents { float latents[]; };  // (n_tokens, latent_stride) f32
layout(binding = 2) readonly buffer Heads { float heads[]; };      // (n_tokens, q_stride) f32: nope, then rotary part of each
layout(binding = 3) readonly buffer Norm { float norm[]; };        // (kv_rank) f32
layout(binding = 4) readonly buffer Angles { vec2 angles[]; };     // (capacity, rotary_dim / 2) cos, sin
layout(binding = 5) writeonly buffer Queries { float queries[]; }; // (n_tokens, n_heads, kv_rank + rotary_dim) f32
layout(binding = 6) writeonly buffer Keys { float keys[]; };       // ((kv_rank + rotary_dim) / 4, capacity, 4) f32 or fp16
layout(binding = 6) writeonly buffer HalfKeys { uvec2 half_keys[]; };
layout(push_constant) uniform Push { LatentParams p; };

#include "lib/half_key.glsl"
#include "lib/reduce.glsl"

uint head, position;

void put(uint i, float v) {
  if (head == p.n_heads && HALF_CACHE != 0) key[i] = v;
  else if (head == p.n_heads) keys[(i / 4 * p.capacity + position) * 4 + i % 4] = v;
  else queries[(gl_WorkGroupID.y * p.n_heads + head) * (p.kv_rank + p.rotary_dim) + i] = v;
}

void main() {
  uint lane = gl_LocalInvocationID.x, row = gl_WorkGroupID.y * p.latent_stride + p.latent_column;
  head = gl_WorkGroupID.x;
  position = step_state.position + gl_WorkGroupID.y;
  bool is_key = head == p.n_heads;
  if (is_key) {
    precise float squares = 0.0;
    for (uint i = lane; i < p.kv_rank; i += LANES) squares = fma(latents[row + i], latents[row + i], squares);
    precise float scale = 1.0 / sqrt(workgroup_sum(squares) / float(p.kv_rank) + p.epsilon);
    for (uint i = lane; i < p.kv_rank; i += LANES) put(i, latents[row + i] * scale * norm[i]);
  }
  uint from = is_key ? row + p.kv_rank : gl_WorkGroupID.y * p.q_stride + (head + 1) * p.q_head - p.rotary_dim;
  uint pairs = p.rotary_dim / 2;
  for (uint i = lane; i < pairs; i += LANES) {
    uint first = p.interleaved != 0 ? 2 * i : i, second = p.interleaved != 0 ? 2 * i + 1 : i + pairs;
    vec2 turn = angles[position * pairs + i];
    float a = is_key ? latents[from + first] : heads[from + first], b = is_key ? latents[from + second] : heads[from + second];
    precise float turned_a = a * turn.x - b * turn.y, turned_b = b * turn.x + a * turn.y;
    put(p.kv_rank + first, turned_a);
    put(p.kv_rank + second, turned_b);
  }
  if (HALF_CACHE == 0 || !is_key) return;  // the whole workgroup does
  barrier();
  for (uint i = lane; i < (p.kv_rank + p.rotary_dim) / 4; i += LANES)
    half_keys[i * p.capacity + position] = packed_key(i);
}
