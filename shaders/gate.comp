// Chooses each token's experts from its router logits by a GateRule (shared/route.h). A workgroup owns one token.
// Every expert counts how many come before it, by (selection score, lower index first): that count is its rank, so the
// order is exact with ties, and k experts are always chosen. NaN counts as minus infinity.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "shared/route.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;
layout(constant_id = 1) const uint EXPERTS = GATE_MAX_EXPERTS;  // at least rule.n_experts

layout(binding = 0) readonly buffer Logits { float logits[]; };    // (n_tokens, logits_stride) f32
layout(binding = 1) readonly buffer Bias { float bias[]; };        // (n_experts) f32, read when rule.has_bias
layout(binding = 2) writeonly buffer Ids { uint ids[]; };          // (n_tokens, top_k) u32, best first
layout(binding = 3) writeonly buffer Weights { float weights[]; };  // (n_tokens, top_k) f32
layout(push_constant) uniform Push { GateParams p; };

#include "lib/reduce.glsl"

shared float score[EXPERTS];            // what a chosen expert weighs
shared uint key[EXPERTS];               // what it is chosen by, ordered as unsigned
shared uint group_key[GATE_MAX_GROUPS];
shared float chosen[GATE_MAX_TOP_K];
shared uint chosen_expert[GATE_MAX_TOP_K];

#include "lib/order_key.glsl"

// log(1 + e) for e in [0, 1], as 2 atanh(e / (2 + e)): Vulkan's log is only good to 2^-21 near 1.
float log1p(float e) {
  float s = e / (2.0 + e), s2 = s * s, sum = 1.0 / 17.0;
  for (int n = 15; n > 0; n -= 2) sum = fma(sum, s2, 1.0 / float(n));
  return 2.0 * s * sum;
}

float score_of(float logit, float maximum, float denominator) {
  if (p.rule.score == SCORE_SOFTMAX) return exp(logit - maximum) / denominator;
  if (p.rule.score == SCORE_SIGMOID) return 1.0 / (1.0 + exp(-logit));
  if (p.rule.score == SCORE_SQRT_SOFTPLUS) return sqrt(max(logit, 0.0) + log1p(exp(-abs(logit))));
  return logit;
}

void mask_groups(uint lane) {
  uint size = p.rule.n_experts / p.rule.n_groups;
  for (uint g = lane; g < p.rule.n_groups; g += LANES) {
    uint best = 0, second = 0;
    for (uint e = g * size; e < (g + 1) * size; ++e) {
      uint k = key[e];
      if (k > best) { second = best; best = k; }
      else if (k > second) second = k;
    }
    group_key[g] = p.rule.group_score == GROUP_MAX || size < 2 ? best : order_key(key_value(best) + key_value(second));
  }
  barrier();
  for (uint g = lane; g < p.rule.n_groups; g += LANES) {
    uint rank = 0;
    for (uint o = 0; o < p.rule.n_groups; ++o)
      rank += uint(group_key[o] > group_key[g] || (group_key[o] == group_key[g] && o < g));
    if (rank >= p.rule.top_groups) {
      for (uint e = g * size; e < (g + 1) * size; ++e) key[e] = 0;
    }
  }
  barrier();
}

// Weight of the j-th chosen expert by sparsemixer; score holds the logits.
float sparsemixer(uint j) {
  float m = chosen[j];
  precise float sum = 0.0;
  for (uint e = 0; e < p.rule.n_experts; ++e) {
    bool taken = false;
    for (uint before = 0; before < j; ++before) taken = taken || chosen_expert[before] == e;
    float z = score[e];
    if (!taken && !(m - z > p.rule.near * max(abs(z), m))) sum += exp(z - m);
  }
  return 1.0 / sum;
}

// What the weights are divided by.
float denominator() {
  precise float sum = 0.0;
  if (p.rule.weight == WEIGHT_SOFTMAX) {
    for (uint j = 0; j < p.rule.top_k; ++j) sum += exp(chosen[j] - chosen[0]);
    return sum;
  }
  bool power = p.rule.norm_power > 0.0 && p.rule.norm_power != 1.0;
  for (uint j = 0; j < p.rule.top_k; ++j) sum += power ? pow(chosen[j], p.rule.norm_power) : chosen[j];
  if (power) sum = pow(sum, 1.0 / p.rule.norm_power);
  return max(sum + p.rule.denominator_add, p.rule.denominator_min);
}

float weight_of(uint j, float denominator) {
  if (p.rule.weight == WEIGHT_SPARSEMIXER) return sparsemixer(j);
  if (p.rule.weight == WEIGHT_SOFTMAX) return exp(chosen[j] - chosen[0]) / denominator;
  if (p.rule.weight == WEIGHT_SIGMOID) return 1.0 / (1.0 + exp(-chosen[j]));
  return p.rule.renormalize != 0 ? chosen[j] / denominator : chosen[j];
}

void main() {
  uint lane = gl_LocalInvocationID.x, n = p.rule.n_experts;
  uint from = gl_WorkGroupID.x * p.logits_stride, to = gl_WorkGroupID.x * p.rule.top_k;

  float maximum = uintBitsToFloat(0xff800000u);
  for (uint e = 0; e < n; ++e) maximum = max(maximum, logits[from + e]);
  float mass = 0.0;
  if (p.rule.score == SCORE_SOFTMAX) {
    for (uint e = lane; e < n; e += LANES) mass += exp(logits[from + e] - maximum);
    mass = workgroup_sum(mass);
  }
  for (uint e = lane; e < n; e += LANES) {
    float logit = logits[from + e], s = score_of(logit, maximum, mass);
    score[e] = p.rule.weight == WEIGHT_SCORE ? s : logit;
    key[e] = order_key(p.rule.has_bias != 0 ? s + bias[e] : s);
  }
  barrier();
  if (p.rule.n_groups > 1) mask_groups(lane);

  for (uint e = lane; e < n; e += LANES) {
    uint mine = key[e], rank = 0;
    for (uint o = 0; o < n; ++o) {
      uint k = key[o];
      rank += uint(k > mine || (k == mine && o < e));
    }
    if (rank < p.rule.top_k) {
      ids[to + rank] = e;
      chosen[rank] = score[e];
      chosen_expert[rank] = e;
    }
  }
  barrier();

  float divisor = denominator();
  for (uint j = lane; j < p.rule.top_k; j += LANES) weights[to + j] = weight_of(j, divisor) * p.rule.scale;
}
