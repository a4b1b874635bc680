// Routing; each step cites where it comes from. Follows shared/route.h.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "moe/ref/ref.h"

namespace vkmoe::ref {
namespace {

// The order in which experts or groups are taken: larger first, ties to the lower index, NaN last.
std::vector<uint32_t> descending(const std::vector<float>& values) {
  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  auto key = [&](uint32_t i) { return std::isnan(values[i]) ? -std::numeric_limits<float>::infinity() : values[i]; };
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return key(a) > key(b); });
  return order;
}

std::vector<float> softmax(const std::vector<float>& logits) {
  float maximum = *std::max_element(logits.begin(), logits.end());
  std::vector<float> p(logits.size());
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += p[i] = std::exp(logits[i] - maximum);
  for (float& v : p) v = float(v / sum);
  return p;
}

double softplus(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }

std::vector<float> scores(uint32_t rule, const std::vector<float>& logits) {
  if (rule == SCORE_SOFTMAX) return softmax(logits);
  std::vector<float> s = logits;
  for (float& v : s) {
    if (rule == SCORE_SIGMOID) v = 1 / (1 + std::exp(-v));                      // DeepSeek-V3
    if (rule == SCORE_SQRT_SOFTPLUS) v = float(std::sqrt(softplus(v)));  // DeepSeek-V4
  }
  return s;
}

// Groups of experts that may be chosen from (DeepSeek-V2: by maximum, DeepSeek-V3: by the sum of the best two).
std::vector<bool> open_groups(const GateRule& rule, const std::vector<float>& selection) {
  uint32_t size = rule.n_experts / rule.n_groups;
  std::vector<float> group_scores;
  for (uint32_t g = 0; g < rule.n_groups; ++g) {
    std::vector<float> of(selection.begin() + g * size, selection.begin() + (g + 1) * size);
    std::sort(of.begin(), of.end(), std::greater<float>());
    group_scores.push_back(rule.group_score == GROUP_MAX || size < 2 ? of[0] : of[0] + of[1]);
  }
  std::vector<uint32_t> order = descending(group_scores);
  std::vector<bool> open(rule.n_groups, false);
  for (uint32_t i = 0; i < rule.top_groups; ++i) open[order[i]] = true;
  return open;
}

// transformers' modeling_phimoe.py: after each choice its expert is taken out, and what is far below the best is masked.
std::vector<float> sparsemixer(const GateRule& rule, const std::vector<float>& logits, const std::vector<uint32_t>& experts) {
  std::vector<float> left = logits, weights;
  for (uint32_t chosen : experts) {
    float best = left[chosen];
    double sum = 0;
    for (uint32_t e = 0; e < rule.n_experts; ++e) {
      bool far = best - logits[e] > rule.near * std::max(std::abs(logits[e]), best);
      if (!far) sum += std::exp(left[e] - best);
    }
    weights.push_back(float(1 / sum));
    left[chosen] = -std::numeric_limits<float>::infinity();
  }
  return weights;
}

// Zhou et al. 2022: each expert chooses its best tokens, among those that chose it.
std::vector<std::vector<bool>> chosen_by_experts(const GateRule& rule, const std::vector<Choice>& all) {
  std::vector<std::vector<bool>> kept(all.size(), std::vector<bool>(rule.top_k));
  for (uint32_t e = 0; e < rule.n_experts; ++e) {
    std::vector<std::pair<uint32_t, uint32_t>> places;  // token, rank
    std::vector<float> score;
    for (uint32_t t = 0; t < all.size(); ++t) {
      for (uint32_t j = 0; j < rule.top_k; ++j) {
        if (all[t].experts[j] != e) continue;
        places.push_back({t, j});
        score.push_back(all[t].weights[j]);
      }
    }
    std::vector<uint32_t> order = descending(score);
    for (uint32_t i = 0; i < order.size() && i < rule.capacity; ++i) kept[places[order[i]].first][places[order[i]].second] = true;
  }
  return kept;
}

// Scores, the choice by them, and its weights.
Choice choose_flat(const GateRule& rule, const std::vector<float>& logits, const std::vector<float>& bias, const TokenInfo& token) {
  std::vector<float> score = scores(rule.score, logits), selection = score;
  if (rule.has_bias)
    for (uint32_t e = 0; e < rule.n_experts; ++e) selection[e] += bias[e];
  std::vector<bool> open(1, true);
  if (rule.n_groups > 1) open = open_groups(rule, selection);

  Choice choice;
  uint32_t group_size = rule.n_experts / uint32_t(open.size());
  std::vector<uint32_t> order = descending(selection), closed;
  for (uint32_t e : order) (open[e / group_size] ? choice.experts : closed).push_back(e);
  std::sort(closed.begin(), closed.end());  // taken in index order, only if the open groups do not suffice
  choice.experts.insert(choice.experts.end(), closed.begin(), closed.end());
  choice.experts.resize(rule.top_k);
  if (rule.choose == CHOOSE_TABLE) choice.experts = token.table;

  for (uint32_t e : choice.experts) choice.weights.push_back(rule.weight == WEIGHT_SCORE ? score[e] : logits[e]);
  if (rule.weight == WEIGHT_SOFTMAX) {
    choice.weights = softmax(choice.weights);
  } else if (rule.weight == WEIGHT_SPARSEMIXER) {
    choice.weights = sparsemixer(rule, logits, choice.experts);
  } else if (rule.weight == WEIGHT_SIGMOID) {
    choice.weights = scores(SCORE_SIGMOID, choice.weights);
  } else if (rule.renormalize) {
    double power = rule.norm_power > 0 ? rule.norm_power : 1, norm = 0;
    for (float w : choice.weights) norm += std::pow(double(w), power);
    float sum = float(std::pow(norm, 1 / power));
    sum = std::max(sum + rule.denominator_add, rule.denominator_min);
    if (sum == 0) sum = 1;
    for (float& w : choice.weights) w /= sum;
  }
  return choice;
}

// Shazeer et al. 2017, appendix B: a gate over groups, and in each group that it keeps a gate of its own.
Choice choose_in_tree(const GateRule& rule, const std::vector<float>& logits) {
  uint32_t size = rule.n_experts / rule.n_groups, of_group = rule.top_k / rule.top_groups;
  auto kept = [](const std::vector<float>& z, uint32_t k) {
    Choice choice;
    choice.experts = descending(z);
    choice.experts.resize(k);
    for (uint32_t e : choice.experts) choice.weights.push_back(z[e]);
    choice.weights = softmax(choice.weights);
    return choice;
  };
  Choice groups = kept({logits.begin() + rule.n_experts, logits.end()}, rule.top_groups), all;
  for (uint32_t i = 0; i < rule.top_groups; ++i) {
    uint32_t first = groups.experts[i] * size;
    Choice own = kept({logits.begin() + first, logits.begin() + first + size}, of_group);
    for (uint32_t j = 0; j < of_group; ++j) {
      all.experts.push_back(first + own.experts[j]);
      all.weights.push_back(groups.weights[i] * own.weights[j]);
    }
  }
  return all;
}

}  // namespace

float finite_logit(float z) {
  float most = float(GATE_MAX_LOGIT);
  return std::isnan(z) ? -most : std::clamp(z, -most, most);
}

double normal(uint32_t bits) {
  double p = ((bits >> 8) + 0.5) * 0x1p-24, low = -6, high = 6;
  for (int i = 0; i < 60; ++i) {
    double middle = (low + high) / 2;
    (std::erfc(-middle * std::sqrt(0.5)) / 2 < p ? low : high) = middle;
  }
  return low;
}

Choice gate(const GateRule& rule, std::vector<float> logits, const std::vector<float>& bias, const TokenInfo& token) {
  for (float& z : logits) z = finite_logit(z);
  for (uint32_t e = 0; rule.noise && e < logits.size(); ++e) {
    double noise = normal(philox({token.number, e / 4, DRAW_NOISE, 0}, rule.seed_low, rule.seed_high)[e % 4]);
    logits[e] = finite_logit(float(logits[e] + noise * softplus(finite_logit(token.noise[e]))));
  }
  Choice choice = rule.choose == CHOOSE_TREE ? choose_in_tree(rule, logits) : choose_flat(rule, logits, bias, token);
  for (uint32_t j = 1; rule.random_second && j < rule.top_k; ++j) {
    uint32_t bits = philox({token.number, j, DRAW_SECOND, 0}, rule.seed_low, rule.seed_high)[0];
    if (!(2 * choice.weights[j] > (bits >> 8) * 0x1p-24)) choice.weights[j] = 0;
  }
  for (float& w : choice.weights) w *= rule.scale;
  return choice;
}

std::vector<Choice> route(const GateRule& rule, const std::vector<std::vector<float>>& logits, const std::vector<float>& bias) {
  std::vector<Choice> all;
  GateRule score_rule = rule;
  if (rule.drop != DROP_NONE) {
    score_rule.renormalize = RENORMALIZE_NONE;
    score_rule.scale = 1;
  }
  for (const std::vector<float>& row : logits) all.push_back(gate(score_rule, row, bias));
  if (rule.drop == DROP_NONE) return all;

  std::vector<float> best;
  for (const Choice& choice : all) best.push_back(rule.drop == DROP_UNLIKELY ? choice.weights[0] : 0);
  std::vector<uint32_t> order = descending(best), taken(rule.n_experts, 0);
  std::vector<std::vector<bool>> kept(all.size(), std::vector<bool>(rule.top_k));
  for (uint32_t j = 0; j < rule.top_k; ++j)
    for (uint32_t t : order) kept[t][j] = taken[all[t].experts[j]]++ < rule.capacity;
  if (rule.drop == DROP_UNCHOSEN) kept = chosen_by_experts(rule, all);

  for (size_t t = 0; t < all.size(); ++t) {
    float sum = 0;
    for (uint32_t j = 0; j < rule.top_k; ++j)
      if (kept[t][j] || rule.renormalize == RENORMALIZE_ALL) sum += all[t].weights[j];
    sum = std::max(sum + rule.denominator_add, rule.denominator_min);
    if (sum == 0) sum = 1;
    for (uint32_t j = 0; j < rule.top_k; ++j) {
      float w = rule.renormalize != RENORMALIZE_NONE ? all[t].weights[j] / sum : all[t].weights[j];
      all[t].weights[j] = kept[t][j] ? w * rule.scale : 0;
      if (!kept[t][j]) all[t].experts[j] = NO_EXPERT;
      else if (rule.expert_of_rank) all[t].experts[j] = j == 0 ? 1 : 0;
    }
  }
  return all;
}

}  // namespace vkmoe::ref
