// combine: the chosen experts' outputs, weighted, added to the residual stream in the order of their rank.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "conformance/cases.h"

namespace vkmoe::conformance {
namespace {

struct Shape {
  uint32_t n_tokens, top_k, width;
  float scale;
  bool in_order, quick;
  bool add = true, drops = false, norm = false;
};

void check_combine(Check& check, const Tuning& tuning, const Shape& s) {
  uint32_t n = s.n_tokens * s.top_k;
  std::vector<float> x = random_values(check, size_t(s.n_tokens) * s.width), y = random_values(check, size_t(n) * s.width);
  std::vector<float> weights = random_values(check, n);
  std::vector<uint32_t> slot_of(n);
  std::iota(slot_of.begin(), slot_of.end(), 0u);
  bool direct = s.n_tokens == 1 || s.in_order;  // then slots are assignments, and what slot_of holds must not matter
  std::shuffle(slot_of.begin(), slot_of.end(), check.random);
  for (uint32_t i = 0; s.drops && i < n; i += 3) {
    slot_of[i] = NO_EXPERT;
    weights[i] = std::numeric_limits<float>::quiet_NaN();  // must not matter
  }
  std::vector<double> want, bound;
  for (uint32_t t = 0; t < s.n_tokens; ++t) {
    for (uint32_t i = 0; i < s.width; ++i) {
      double sum = 0, norm = 0, before = s.add ? x[t * s.width + i] : 0;
      for (uint32_t j = t * s.top_k; j < (t + 1) * s.top_k; ++j) {
        if (!direct && slot_of[j] == NO_EXPERT) continue;
        double product = double(weights[j]) * y[(direct ? j : slot_of[j]) * s.width + i];
        sum += product;
        norm += std::abs(product);
      }
      want.push_back(before + s.scale * sum);
      bound.push_back(half_ulp * ((s.top_k + 2) * std::abs(s.scale) * norm + 2 * std::abs(before)));
    }
  }
  Rows residual = check.input_rows(x, s.width, "residual"), outs = check.input_rows(y, s.width, "expert outputs");
  Routing routing;
  routing.n_tokens = s.n_tokens;
  routing.top_k = s.top_k;
  routing.weights = check.input(weights, "weights");
  routing.slot_of = check.input(slot_of, "slot_of");
  routing.in_order = s.in_order;
  std::vector<float> w = random_values(check, s.width);
  CombinedNorm norm = {check.input(w, "norm weight"), check.input_rows(std::vector<float>(x.size()), s.width, "normed"), 1e-6f};
  check.run(tuning, [&](Recorder& r) { combine(r, residual, outs, s.width, routing, s.scale, s.add, true, s.norm ? &norm : nullptr); });
  std::vector<float> sums = check.read_rows(residual, s.n_tokens, s.width);
  check.close("x", sums, want, bound);
  check.padding_untouched(residual, s.n_tokens, s.width);
  std::vector<double> want_normed, bound_normed;  // of the sums as they are; bounds as in norms.cpp
  for (uint32_t t = 0; t < s.n_tokens; ++t) {
    const float* row = &sums[size_t(t) * s.width];
    double squares = 0;
    for (uint32_t i = 0; i < s.width; ++i) squares += double(row[i]) * row[i];
    for (uint32_t i = 0; i < s.width; ++i) {
      double normed = s.norm ? row[i] * w[i] / std::sqrt(squares / s.width + norm.epsilon) : 0;
      want_normed.push_back(normed);
      bound_normed.push_back(std::abs(normed) * half_ulp * (s.width / 2.0 + 16));
    }
  }
  check.close("normed", check.read_rows(norm.y, s.n_tokens, s.width), want_normed, bound_normed);
  check.padding_untouched(norm.y, s.n_tokens, s.width);
}

}  // namespace

void add_combine(Cases& cases) {
  const std::vector<Shape> shapes = {{1, 2, 40, 1, false, true}, {5, 2, 40, 0.25f, false, true}, {3, 1, 4, 1, false, true},
                                     {4, 1, 257, 1, true, true}, {2, 8, 300, -2, false, true}, {1, 64, 36, 1, false, true},
                                     {5, 3, 40, 0.5f, false, true, false, true}, {1, 2, 257, 1, false, true, true, false, true},
                                     {6, 3, 100, 0.5f, false, true, true, true, true}, {3, 2, 2880, 1, false, false, true, false, true}, {4, 2, 36, 1, false, true, true, true},
                                     {33, 6, 1000, 1, false, false}, {2, 64, 7168, 1, false, false}};
  for (const Lanes& lanes : all_lanes()) {
    for (const Shape& s : shapes) {
      cases.push_back({"combine", cat("lanes=", lanes.lanes),
                       cat("tokens=", s.n_tokens, ",top_k=", s.top_k, ",width=", s.width, ",scale=", s.scale,
                           s.in_order ? ",in-order" : "", s.add ? "" : ",overwrite", s.drops ? ",drops" : "", s.norm ? ",norm" : ""),
                       s.quick && lanes.quick, [=](Check& check) { check_combine(check, with_lanes(check, lanes.lanes), s); }});
    }
  }
}

}  // namespace vkmoe::conformance
