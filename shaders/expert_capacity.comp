// Drops assignments that find no room in their expert (GateRule::drop) and weighs those that stay. An invocation owns one
// token: an assignment's place in its expert is the number of assignments to it that come before.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/route.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;

layout(binding = 0) readonly buffer Chosen { uint chosen[]; };    // (n_tokens, top_k) u32, from gate
layout(binding = 1) readonly buffer Scores { float scores[]; };   // (n_tokens, top_k) f32, best first
layout(binding = 2) buffer Ids { uint ids[]; };                   // (n_tokens, top_k) u32: expert or NO_EXPERT
layout(binding = 3) writeonly buffer Weights { float weights[]; };  // (n_tokens, top_k) f32
layout(push_constant) uniform Push { GateParams p; };

#include "lib/order_key.glsl"

bool comes_before(uint other, uint token) {
  if (p.rule.drop == DROP_LATER) return other < token;
  uint k = order_key(scores[other * p.rule.top_k]), mine = order_key(scores[token * p.rule.top_k]);
  return k > mine || (k == mine && other < token);
}

void main() {
  uint token = gl_GlobalInvocationID.x, top_k = p.rule.top_k;
  if (token >= p.n_tokens) return;
  precise float sum = 0.0;
  for (uint j = 0; j < top_k; ++j) {
    uint at = token * top_k + j, expert = chosen[at], place = 0;
    for (uint rank = 0; rank <= j; ++rank) {
      for (uint other = 0; other < p.n_tokens; ++other)
        place += uint(chosen[other * top_k + rank] == expert && (rank < j || comes_before(other, token)));
    }
    bool kept = place < p.rule.capacity;
    ids[at] = kept ? expert : NO_EXPERT;
    if (kept || p.rule.renormalize == RENORMALIZE_ALL) sum += scores[at];
  }
  sum = max(sum + p.rule.denominator_add, p.rule.denominator_min);
  for (uint j = 0; j < top_k; ++j) {
    uint at = token * top_k + j;
    bool kept = ids[at] != NO_EXPERT;
    float w = p.rule.renormalize != RENORMALIZE_NONE ? scores[at] / sum : scores[at];
    weights[at] = kept ? w * p.rule.scale : 0.0;
    if (kept && p.rule.expert_of_rank != 0) ids[at] = uint(j == 0);
  }
}
