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

std::vector<float> scores(uint32_t rule, const std::vector<float>& logits) {
  if (rule == SCORE_SOFTMAX) return softmax(logits);
  std::vector<float> s = logits;
  for (float& v : s) {
    if (rule == SCORE_SIGMOID) v = 1 / (1 + std::exp(-v));                      // DeepSeek-V3
    if (rule == SCORE_SQRT_SOFTPLUS) v = float(std::sqrt(std::max(v, 0.0f) + std::log1p(std::exp(-std::abs(v)))));
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

}  // namespace

Choice gate(const GateRule& rule, const std::vector<float>& logits, const std::vector<float>& bias) {
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
    for (float& w : choice.weights) w /= sum;
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

  for (size_t t = 0; t < all.size(); ++t) {
    float sum = 0;
    for (uint32_t j = 0; j < rule.top_k; ++j)
      if (kept[t][j] || rule.renormalize == RENORMALIZE_ALL) sum += all[t].weights[j];
    sum = std::max(sum + rule.denominator_add, rule.denominator_min);
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
