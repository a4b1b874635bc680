// expert_capacity: which assignments find room in their expert, in every order of dropping, and what the kept ones weigh.
#include <algorithm>
#include <numeric>
#include <tuple>

#include "base/numeric.h"
#include "conformance/cases.h"

namespace vkmoe::conformance {
namespace {

struct Shape {
  uint32_t experts, top_k, tokens, capacity;
};

void check_capacity(Check& check, const Tuning& tuning, const GateRule& rule, uint32_t n_tokens) {
  uint32_t k = rule.top_k, n = n_tokens * k;
  std::vector<uint32_t> chosen(n), order(n), taken(rule.n_experts, 0), want_ids(n, NO_EXPERT);
  std::vector<float> scores(n);
  for (uint32_t t = 0; t < n_tokens; ++t) {  // favourites overflow; ties between tokens' scores
    uint32_t first = check.random() % 4 ? 0 : uint32_t(check.random() % rule.n_experts);
    for (uint32_t j = 0; j < k; ++j) {
      chosen[t * k + j] = (first + j) % rule.n_experts;
      scores[t * k + j] = float(1 + check.random() % 16) / 16 / float(1 + j);
    }
  }
  std::iota(order.begin(), order.end(), 0u);
  auto key = [&](uint32_t a) {
    uint32_t token = a / k, rank = a % k;
    if (rule.drop == DROP_UNCHOSEN) return std::make_tuple(0u, -scores[a], token);
    return std::make_tuple(rank, rule.drop == DROP_UNLIKELY ? -scores[token * k] : 0.0f, token);
  };
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return key(a) < key(b); });
  for (uint32_t a : order)
    if (taken[chosen[a]]++ < rule.capacity) want_ids[a] = rule.expert_of_rank ? uint32_t(a % k == 0) : chosen[a];
  std::vector<double> want(n, 0), bound(n, 0);
  for (uint32_t t = 0; t < n_tokens; ++t) {
    double sum = 0;
    for (uint32_t a = t * k; a < (t + 1) * k; ++a)
      if (want_ids[a] != NO_EXPERT || rule.renormalize == RENORMALIZE_ALL) sum += scores[a];
    sum = std::max<double>(sum + rule.denominator_add, rule.denominator_min);
    for (uint32_t a = t * k; a < (t + 1) * k; ++a) {
      if (want_ids[a] == NO_EXPERT) continue;
      want[a] = scores[a] * double(rule.scale) / (rule.renormalize != RENORMALIZE_NONE ? sum : 1);
      bound[a] = std::abs(want[a]) * half_ulp * (k + 8);
    }
  }
  Routing routing;
  routing.n_tokens = n_tokens;
  routing.top_k = k;
  routing.chosen = check.input(chosen, "chosen");
  routing.scores = check.input(scores, "scores");
  routing.ids = check.output(n, "ids");
  routing.weights = check.output(n, "weights");
  check.run(tuning, [&](Recorder& r) { limit_to_capacity(r, rule, routing); });
  check.equal("ids", check.read<uint32_t>(routing.ids, n), want_ids);
  check.close("weights", check.read<float>(routing.weights, n), want, bound);
}

}  // namespace

void add_capacity(Cases& cases) {
  const char* drops[] = {"", "later", "unlikely", "unchosen"};
  const char* divisors[] = {"", ",renormalize", ",renormalize-kept"};
  for (const Lanes& lanes : all_lanes()) {
    for (uint32_t drop : {DROP_LATER, DROP_UNLIKELY, DROP_UNCHOSEN}) {
      for (uint32_t renormalize : {RENORMALIZE_NONE, RENORMALIZE_ALL, RENORMALIZE_KEPT}) {
        for (const Shape& s : {Shape{8, 1, 48, 4}, {8, 2, 70, 6}, {8, 2, 1, 1}, {4, 4, 33, 5}, {128, 2, 129, 3}, {8, 8, 20, 1000}}) {
          GateRule rule = {s.experts, s.top_k, SCORE_SOFTMAX, 0, 0, 0, 0, WEIGHT_SCORE, renormalize, 0, 0x1p-23f, 0.75f};
          rule.drop = drop;
          rule.capacity = s.capacity;
          rule.expert_of_rank = renormalize == RENORMALIZE_KEPT && s.top_k == 2;
          cases.push_back({"capacity", cat(drops[drop], divisors[renormalize], ",lanes=", lanes.lanes),
                           cat("experts=", s.experts, ",top_k=", s.top_k, ",tokens=", s.tokens, ",capacity=", s.capacity), lanes.quick,
                           [=](Check& check) { check_capacity(check, with_lanes(check, lanes.lanes), rule, s.tokens); }});
        }
      }
    }
  }
}

}  // namespace vkmoe::conformance
