// Drops assignments that find no room in their expert (GateRule::drop) and weighs those that stay. An invocation owns one
// token: an assignment's place in its expert is the number of assignments to it that come before. NaN scores come last.
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

bool larger(uint a, uint b, bool ties) {
  uint ka = order_key(scores[a]), kb = order_key(scores[b]);
  return ka > kb || (ka == kb && ties);
}

// Whether another token's choice of this expert (of this rank or an earlier one) comes before a token's own.
bool comes_before(uint other, uint other_rank, uint token, uint rank) {
  uint top_k = p.rule.top_k;
  if (p.rule.drop == DROP_UNCHOSEN) return larger(other * top_k + other_rank, token * top_k + rank, other < token);
  if (other_rank < rank) return true;
  return p.rule.drop == DROP_LATER ? other < token : larger(other * top_k, token * top_k, other < token);
}

void main() {
  uint token = gl_GlobalInvocationID.x, top_k = p.rule.top_k;
  if (token >= p.n_tokens) return;
  precise float sum = 0.0;
  for (uint j = 0; j < top_k; ++j) {
    uint at = token * top_k + j, expert = chosen[at], place = 0;
    for (uint rank = 0; rank < (p.rule.drop == DROP_UNCHOSEN ? top_k : j + 1); ++rank) {
      for (uint other = 0; other < p.n_tokens; ++other)
        place += uint(chosen[other * top_k + rank] == expert && comes_before(other, rank, token, j));
    }
    bool kept = place < p.rule.capacity;
    ids[at] = kept ? expert : NO_EXPERT;
    if (kept || p.rule.renormalize == RENORMALIZE_ALL) sum += scores[at];
  }
  sum = max(sum + p.rule.denominator_add, p.rule.denominator_min);
  if (sum == 0.0) sum = 1.0;
  for (uint j = 0; j < top_k; ++j) {
    uint at = token * top_k + j;
    bool kept = ids[at] != NO_EXPERT;
    float w = p.rule.renormalize != RENORMALIZE_NONE ? scores[at] / sum : scores[at];
    weights[at] = kept ? w * p.rule.scale : 0.0;
    if (kept && p.rule.expert_of_rank != 0) ids[at] = uint(j == 0);
  }
}
