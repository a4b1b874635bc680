// Sampling by sorting, the plain way; weights are integers as in shared/sample.h, so sums are exact.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "moe/ref/ref.h"

namespace vkmoe::ref {
namespace {

// floor(value * fraction / 2^32), value below 2^46.
uint64_t scale(uint64_t value, uint32_t fraction) {
  return (value >> 32) * fraction + ((value & 0xffffffffu) * fraction >> 32);
}

}  // namespace

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, uint32_t key_low, uint32_t key_high) {
  for (int round = 0; round < 10; ++round) {
    uint64_t a = 0xD2511F53ull * c[0], b = 0xCD9E8D57ull * c[2];
    c = {uint32_t(b >> 32) ^ c[1] ^ key_low, uint32_t(b), uint32_t(a >> 32) ^ c[3] ^ key_high, uint32_t(a)};
    key_low += 0x9E3779B9u;
    key_high += 0xBB67AE85u;
  }
  return c;
}

uint32_t philox(uint32_t position, uint32_t key_low, uint32_t key_high) {
  return philox({position, 0, 0, 0}, key_low, key_high)[0];
}

std::vector<uint64_t> sample_weights(const SampleRule& rule, const std::vector<float>& logits,
                                     const std::vector<int32_t>& recent) {
  std::vector<float> adjusted = logits;
  size_t last = std::min<size_t>({rule.penalty_last, PENALTY_MOST, recent.size()});
  for (auto id = recent.end() - last; id != recent.end(); ++id) {
    if (*id >= 0 && size_t(*id) < logits.size())
      adjusted[*id] = logits[*id] > 0 ? logits[*id] / rule.penalty : logits[*id] * rule.penalty;
  }
  for (float& v : adjusted)
    if (std::isnan(v)) v = -std::numeric_limits<float>::infinity();
  std::vector<uint32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return adjusted[a] > adjusted[b]; });
  std::vector<uint64_t> weights(logits.size(), 0);
  if (!(rule.temperature > 0)) {
    weights[order[0]] = 1;
    return weights;
  }
  if (rule.top_k > 0 && rule.top_k < order.size()) order.resize(rule.top_k);
  uint64_t total = 0;
  for (uint32_t id : order) {
    float w = std::exp((adjusted[id] - adjusted[order[0]]) / rule.temperature);
    if (w >= rule.min_p) weights[id] = uint64_t(w * float(WEIGHT_ONE) + 0.5f);
    total += weights[id];
  }
  if (rule.top_p < 1) {
    uint32_t part = uint32_t(std::clamp(rule.top_p, 0.0f, 0.99999994f) * 4294967296.0f);
    uint64_t wanted = std::max<uint64_t>(scale(total, part), 1), sum = 0;
    for (uint32_t id : order) {
      if (sum >= wanted) weights[id] = 0;
      sum += weights[id];
    }
  }
  if (total == 0) weights[order[0]] = 1;  // nothing but NaN and infinities
  return weights;
}

int32_t draw(const std::vector<uint64_t>& weights, uint32_t fraction) {
  uint64_t target = scale(std::accumulate(weights.begin(), weights.end(), uint64_t(0)), fraction);
  size_t id = 0;
  while (target >= weights[id]) target -= weights[id++];
  return int32_t(id);
}

int32_t sample(const SampleRule& rule, const std::vector<float>& logits, const std::vector<int32_t>& recent, uint32_t position) {
  return draw(sample_weights(rule, logits, recent), philox(position, rule.seed_low, rule.seed_high));
}

}  // namespace vkmoe::ref
