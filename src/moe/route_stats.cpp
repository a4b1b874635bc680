#include "moe/route_stats.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "shared/route.h"

namespace vkmoe {
namespace {

double entropy(const std::vector<double>& p) {
  double sum = 0;
  for (double v : p) sum -= v > 0 ? v * std::log(v) : 0;
  return sum;
}

void check_sizes(uint32_t n_experts, uint32_t top_k, size_t n_tokens, size_t logits, const std::vector<uint32_t>& chosen,
                 const std::vector<uint32_t>& ids, size_t weights) {
  if (n_experts == 0 || top_k == 0 || logits != n_tokens * n_experts || chosen.size() != n_tokens * top_k ||
      ids.size() != chosen.size() || weights != chosen.size())
    fail(VKMOE_ERROR_INVALID_ARGUMENT, "routing of ", n_tokens, " tokens, ", n_experts, " experts, top ", top_k, ": found ", logits,
         " logits, ", chosen.size(), " choices, ", ids.size(), " ids, ", weights, " weights");
  for (const std::vector<uint32_t>* list : {&chosen, &ids})
    for (uint32_t e : *list)
      if (e >= n_experts && !(list == &ids && e == NO_EXPERT))
        fail(VKMOE_ERROR_INVALID_ARGUMENT, "routing: expected an expert below ", n_experts, ", found ", e);
}

}  // namespace

RouteStats route_stats(uint32_t n_experts, uint32_t top_k, const std::vector<float>& logits, const std::vector<uint32_t>& chosen,
                       const std::vector<uint32_t>& ids, const std::vector<float>& weights) {
  size_t n_tokens = top_k ? chosen.size() / top_k : 0;
  check_sizes(n_experts, top_k, n_tokens, logits.size(), chosen, ids, weights.size());
  RouteStats stats;
  stats.load.assign(n_experts, 0);
  stats.importance.assign(n_experts, 0);
  if (n_tokens == 0) return stats;

  std::vector<double> first_choice(n_experts, 0), probability(n_experts, 0), p(n_experts);
  for (size_t t = 0; t < n_tokens; ++t) {
    const float* z = &logits[t * n_experts];
    double maximum = *std::max_element(z, z + n_experts), mass = 0;
    for (uint32_t e = 0; e < n_experts; ++e) mass += p[e] = std::exp(z[e] - maximum);
    double log_sum = maximum + std::log(mass);
    stats.z_loss += log_sum * log_sum / double(n_tokens);
    for (uint32_t e = 0; e < n_experts; ++e) probability[e] += (p[e] /= mass) / double(n_tokens);
    stats.router_entropy += entropy(p) / double(n_tokens);
    first_choice[chosen[t * top_k]] += 1 / double(n_tokens);
  }
  double kept = 0;
  for (size_t a = 0; a < ids.size(); ++a) {
    if (ids[a] == NO_EXPERT || weights[a] == 0) continue;
    stats.load[ids[a]] += 1;
    stats.importance[ids[a]] += weights[a];
    ++kept;
  }
  stats.fraction_dropped = 1 - kept / double(ids.size());
  for (double& v : stats.load) v /= std::max(kept, 1.0);
  stats.load_entropy = entropy(stats.load);

  double mean = 0, variance = 0;
  for (double v : stats.importance) mean += v / n_experts;
  for (double v : stats.importance) variance += (v - mean) * (v - mean) / n_experts;
  stats.importance_cv2 = mean != 0 ? variance / (mean * mean) : 0;
  for (uint32_t e = 0; e < n_experts; ++e) stats.load_balance_loss += n_experts * first_choice[e] * probability[e];
  return stats;
}

}  // namespace vkmoe
