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

}  // namespace

RouteSums::RouteSums(uint32_t n_experts, uint32_t top_k)
    : n_experts_(n_experts), top_k_(top_k), kept_(n_experts), first_choice_(n_experts), importance_(n_experts), probability_(n_experts) {
  if (n_experts == 0 || top_k == 0) fail(VKMOE_ERROR_INVALID_ARGUMENT, "routing to ", n_experts, " experts, top ", top_k);
}

void RouteSums::check_sizes(size_t logits, const std::vector<uint32_t>& chosen, const std::vector<uint32_t>& ids, size_t weights) const {
  size_t n_tokens = chosen.size() / top_k_;
  if (logits != n_tokens * n_experts_ || chosen.size() != n_tokens * top_k_ || ids.size() != chosen.size() || weights != chosen.size())
    fail(VKMOE_ERROR_INVALID_ARGUMENT, "routing of ", n_tokens, " tokens, ", n_experts_, " experts, top ", top_k_, ": found ", logits,
         " logits, ", chosen.size(), " choices, ", ids.size(), " ids, ", weights, " weights");
  for (const std::vector<uint32_t>* list : {&chosen, &ids})
    for (uint32_t e : *list)
      if (e >= n_experts_ && !(list == &ids && e == NO_EXPERT))
        fail(VKMOE_ERROR_INVALID_ARGUMENT, "routing: expected an expert below ", n_experts_, ", found ", e);
}

void RouteSums::add(const std::vector<float>& logits, const std::vector<uint32_t>& chosen, const std::vector<uint32_t>& ids,
                    const std::vector<float>& weights) {
  check_sizes(logits.size(), chosen, ids, weights.size());
  std::vector<double> p(n_experts_);
  for (size_t t = 0; t * top_k_ < chosen.size(); ++t, ++tokens_) {
    const float* z = &logits[t * n_experts_];
    double maximum = *std::max_element(z, z + n_experts_), mass = 0;
    for (uint32_t e = 0; e < n_experts_; ++e) mass += p[e] = std::exp(z[e] - maximum);
    double log_sum = maximum + std::log(mass);
    z_ += log_sum * log_sum;
    for (uint32_t e = 0; e < n_experts_; ++e) probability_[e] += p[e] /= mass;
    entropy_ += entropy(p);
    ++first_choice_[chosen[t * top_k_]];
  }
  for (size_t a = 0; a < ids.size(); ++a) {
    if (ids[a] == NO_EXPERT || weights[a] == 0) continue;
    ++kept_[ids[a]];
    importance_[ids[a]] += weights[a];
  }
}

RouteStats RouteSums::stats() const {
  RouteStats stats;
  stats.importance = importance_;
  stats.load.assign(n_experts_, 0);
  if (tokens_ == 0) return stats;
  double kept = 0, mean = 0, variance = 0, tokens = double(tokens_);
  for (uint64_t n : kept_) kept += double(n);
  for (uint32_t e = 0; e < n_experts_; ++e) {
    stats.load[e] = double(kept_[e]) / std::max(kept, 1.0);
    stats.load_balance_loss += n_experts_ * (double(first_choice_[e]) / tokens) * (probability_[e] / tokens);
    mean += importance_[e] / n_experts_;
  }
  for (double v : importance_) variance += (v - mean) * (v - mean) / n_experts_;
  stats.fraction_dropped = 1 - kept / (tokens * top_k_);
  stats.importance_cv2 = mean != 0 ? variance / (mean * mean) : 0;
  stats.z_loss = z_ / tokens;
  stats.router_entropy = entropy_ / tokens;
  stats.load_entropy = entropy(stats.load);
  return stats;
}

nlohmann::json RouteSums::json() const {
  RouteStats s = stats();
  return {{"tokens", tokens_}, {"load", s.load}, {"importance", s.importance}, {"fraction_dropped", s.fraction_dropped},
          {"importance_cv2", s.importance_cv2}, {"load_balance_loss", s.load_balance_loss}, {"z_loss", s.z_loss},
          {"router_entropy", s.router_entropy}, {"load_entropy", s.load_entropy}};
}

}  // namespace vkmoe
