// Chooses each token's experts from its router logits by a GateRule (shared/route.h). A workgroup owns one token.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "shared/route.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(constant_id = 1) const uint EXPERTS = GATE_MAX_EXPERTS;  // at least rule.n_experts

layout(binding = 0) readonly buffer Logits { float logits[]; };    // (n_tokens, logits_stride) f32
layout(binding = 1) readonly buffer Bias { float bias[]; };        // (n_experts) f32, read when rule.has_bias; or noise
                                                                   // logits (n_tokens, logits_stride) when rule.noise
layout(binding = 2) writeonly buffer Ids { uint ids[]; };          // (n_tokens, top_k + n_shared) u32, best first
layout(binding = 3) writeonly buffer Weights { float weights[]; };  // (n_tokens, top_k + n_shared) f32
layout(binding = 4) readonly buffer Tokens { uint tokens[]; };     // (n_tokens) u32, read with CHOOSE_TABLE
layout(binding = 5) readonly buffer Table { uint table[]; };       // (vocab, top_k) u32: expert, read with CHOOSE_TABLE
layout(push_constant) uniform Push { GateParams p; };

#include "lib/gate.glsl"
#include "lib/normal.glsl"

float logit_at(uint e) {
  uint at = gl_WorkGroupID.x * p.logits_stride + e;
  float z = finite_logit(logits[at]);
  if (p.rule.noise != 0) z = finite_logit(z + normal_of(draw(e / 4, DRAW_NOISE)[e % 4]) * softplus(finite_logit(bias[at])));
  return z;
}

void choose_from_table(uint lane, uint to) {
  uint from = tokens[gl_WorkGroupID.x] * p.rule.top_k;
  for (uint j = lane; j < p.rule.top_k; j += LANES) choose(to, j, min(table[from + j], p.rule.n_experts - 1));
}

void choose_in_tree(uint lane, uint to) {
  uint size = p.rule.n_experts / p.rule.n_groups, of_group = p.rule.top_k / p.rule.top_groups;
  for (uint g = lane; g < p.rule.n_groups; g += LANES) group_key[g] = order_key(logit_at(p.rule.n_experts + g));
  barrier();
  for (uint e = lane; e < p.rule.n_experts; e += LANES) {
    uint g = e / size, group_rank = 0, rank = 0;
    for (uint o = 0; o < p.rule.n_groups; ++o)
      group_rank += uint(group_key[o] > group_key[g] || (group_key[o] == group_key[g] && o < g));
    for (uint o = g * size; o < (g + 1) * size; ++o) rank += uint(key[o] > key[e] || (key[o] == key[e] && o < e));
    if (group_rank < p.rule.top_groups && rank < of_group) {
      choose(to, group_rank * of_group + rank, e);
      if (rank == 0) chosen_group[group_rank] = key_value(group_key[g]);
    }
  }
}

void main() {
  uint lane = gl_LocalInvocationID.x, to = first_use(gl_WorkGroupID.x);
  for (uint e = lane; e < p.rule.n_experts; e += LANES) score[e] = logit_at(e);
  if (lane == 0 && p.gated_shared != 0) shared_logit = finite_logit(logits[gl_WorkGroupID.x * p.logits_stride + p.rule.n_experts]);
  barrier();
  score_experts(lane);
  if (p.rule.choose == CHOOSE_TABLE) choose_from_table(lane, to);
  else if (p.rule.choose == CHOOSE_TREE) choose_in_tree(lane, to);
  else choose_best(lane, to);
  barrier();
  write_weights(lane, to);
}
