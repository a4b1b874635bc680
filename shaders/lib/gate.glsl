// What becomes of a token's router logits by a GateRule (shared/route.h), for kernels whose workgroup owns one token: they
// put finite logits into score[] and shared_logit, then call score_experts(), choose_best() or another choice, a barrier,
// and write_weights().
// Every expert counts how many come before it, by (selection score, lower index first): that count is its rank, so the
// order is exact with ties, and k experts are always chosen, whatever the logits are.
#include "lib/order_key.glsl"
#include "lib/philox.glsl"
#include "lib/reduce.glsl"

const uint AHEAD = 4;  // loads in a row that hide each other's latency; EXPERTS is a multiple of it

shared float score[EXPERTS];            // what a chosen expert weighs
shared uint key[EXPERTS];               // what it is chosen by, ordered as unsigned; 0 behind the last
shared uint group_key[GATE_MAX_GROUPS];
shared float chosen_group[GATE_MAX_GROUPS];  // logits of the chosen groups, best first (CHOOSE_TREE)
shared float chosen[GATE_MAX_TOP_K];
shared uint chosen_expert[GATE_MAX_TOP_K];
shared float shared_logit;  // finite; read when p.gated_shared

// log(1 + e) for e in [0, 1], as 2 atanh(e / (2 + e)): Vulkan's log is only good to 2^-21 near 1.
float log1p(float e) {
  float s = e / (2.0 + e), s2 = s * s, sum = 1.0 / 17.0;
  for (int n = 15; n > 0; n -= 2) sum = fma(sum, s2, 1.0 / float(n));
  return 2.0 * s * sum;
}

float softplus(float z) { return max(z, 0.0) + log1p(exp(-abs(z))); }

float score_of(float logit, float maximum, float denominator) {
  if (p.rule.score == SCORE_SOFTMAX) return exp(logit - maximum) / denominator;
  if (p.rule.score == SCORE_SIGMOID) return 1.0 / (1.0 + exp(-logit));
  if (p.rule.score == SCORE_SQRT_SOFTPLUS) return sqrt(softplus(logit));
  return logit;
}

// On bits, since compilers may assume that there is no NaN.
float finite_logit(float z) {
  bool is_nan = (floatBitsToUint(z) & 0x7fffffffu) > 0x7f800000u;
  return is_nan ? -GATE_MAX_LOGIT : clamp(z, -GATE_MAX_LOGIT, GATE_MAX_LOGIT);
}

uvec4 draw(uint index, uint what) {
  return philox(uvec4(p.first_token + gl_WorkGroupID.x, index, what, 0), uvec2(p.rule.seed_low, p.rule.seed_high));
}

// score[]: logits, visible to all -> what experts weigh; key[]: what they are chosen by.
void score_experts(uint lane) {
  uint n = p.rule.n_experts;
  float maximum = -GATE_MAX_LOGIT;
  for (uint e = 0; e < EXPERTS; e += AHEAD) {
    [[unroll]] for (uint j = 0; j < AHEAD; ++j) maximum = max(maximum, e + j < n ? score[e + j] : -GATE_MAX_LOGIT);
  }
  barrier();  // before scores take the logits' place
  float mass = 0.0;
  if (p.rule.score == SCORE_SOFTMAX) {
    for (uint e = lane; e < n; e += LANES) mass += exp(score[e] - maximum);
    mass = workgroup_sum(mass);
  }
  for (uint e = lane; e < EXPERTS; e += LANES) {
    uint k = 0;
    if (e < n) {
      float s = score_of(score[e], maximum, mass);
      if (p.rule.weight == WEIGHT_SCORE) score[e] = s;
      k = order_key(p.rule.has_bias != 0 ? s + bias[e] : s);
    }
    key[e] = k;
  }
  barrier();
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

// From here on key holds the rank of what was chosen.
void rank_chosen(uint lane) {
  for (uint e = lane; e < p.rule.n_experts; e += LANES) key[e] = p.rule.top_k;
  barrier();
  for (uint j = lane; j < p.rule.top_k; j += LANES) key[chosen_expert[j]] = j;
  barrier();
}

// Weight of the j-th chosen expert by sparsemixer; score holds the logits, key the ranks.
float sparsemixer(uint j) {
  float m = chosen[j];
  precise float sum = 0.0;
  for (uint e = 0; e < p.rule.n_experts; ++e) {
    float z = score[e];
    if (key[e] >= j && !(m - z > p.rule.near * max(abs(z), m))) sum += exp(z - m);
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
  sum = max(sum + p.rule.denominator_add, p.rule.denominator_min);
  return sum == 0.0 ? 1.0 : sum;
}

// Softmax over the chosen groups times softmax over those chosen in the group.
float tree_weight(uint j) {
  uint size = p.rule.top_k / p.rule.top_groups, first = j - j % size;
  precise float group_sum = 0.0, sum = 0.0;
  for (uint g = 0; g < p.rule.top_groups; ++g) group_sum += exp(chosen_group[g] - chosen_group[0]);
  for (uint i = first; i < first + size; ++i) sum += exp(chosen[i] - chosen[first]);
  return exp(chosen_group[j / size] - chosen_group[0]) / group_sum * (exp(chosen[j] - chosen[first]) / sum);
}

float weight_of(uint j, float denominator) {
  if (p.rule.choose == CHOOSE_TREE) return tree_weight(j);
  if (p.rule.weight == WEIGHT_SPARSEMIXER) return sparsemixer(j);
  if (p.rule.weight == WEIGHT_SOFTMAX) return exp(chosen[j] - chosen[0]) / denominator;
  if (p.rule.weight == WEIGHT_SIGMOID) return 1.0 / (1.0 + exp(-chosen[j]));
  return p.rule.renormalize != 0 ? chosen[j] / denominator : chosen[j];
}

void choose(uint to, uint rank, uint e) {
  ids[to + rank] = e;
  chosen[rank] = score[e];
  chosen_expert[rank] = e;
}

void choose_best(uint lane, uint to) {
  if (p.rule.n_groups > 1) mask_groups(lane);
  for (uint e = lane; e < p.rule.n_experts; e += LANES) {
    uint mine = key[e], rank = 0;
    for (uint o = 0; o < EXPERTS; o += AHEAD) {
      [[unroll]] for (uint j = 0; j < AHEAD; ++j) {
        uint k = key[o + j];
        rank += uint(k > mine || (k == mine && o + j < e));
      }
    }
    if (rank < p.rule.top_k) choose(to, rank, e);
  }
}

// Where a token's ids and weights begin.
uint first_use(uint token) { return token * (p.rule.top_k + p.n_shared); }

// Weights of the experts in chosen_expert, visible to all, and the shared experts behind them.
void write_weights(uint lane, uint to) {
  if (p.rule.weight == WEIGHT_SPARSEMIXER) rank_chosen(lane);
  float divisor = denominator();
  for (uint j = lane; j < p.rule.top_k; j += LANES) {
    float w = weight_of(j, divisor);
    bool stays = p.rule.random_second == 0 || j == 0 || 2.0 * w > float(draw(j, DRAW_SECOND).x >> 8) * 5.9604644775390625e-8;
    weights[to + j] = stays ? w * p.rule.scale : 0.0;
  }
  for (uint j = lane; j < p.n_shared; j += LANES) {
    ids[to + p.rule.top_k + j] = p.rule.n_experts + j;
    weights[to + p.rule.top_k + j] = p.gated_shared != 0 ? 1.0 / (1.0 + exp(-shared_logit)) : 1.0;
  }
}
