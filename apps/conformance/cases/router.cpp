// router: norm, logits and choice of experts in one dispatch; each step against the reference of what the device made of
// the one before, and all against the bits of the three kernels that it stands for.
#include <algorithm>
#include <cmath>

#include "conformance/cases.h"
#include "conformance/weights.h"

namespace vkmoe::conformance {
namespace {

struct Shape {
  uint32_t experts, top_k, tokens, width;
  bool quick;
  SharedUse shared = {};
};

struct Routed {
  std::vector<float> normed, logits, weights;
  std::vector<uint32_t> ids;
};

struct Layer {
  GateRule rule;
  Weight weight;
  std::vector<float> norm, bias;
  SharedUse shared;
  float epsilon = 1e-6f;
};

Routed run_router(Check& check, const Tuning& tuning, const Layer& layer, const std::vector<float>& x, bool fused) {
  uint32_t width = layer.weight.k, n_logits = layer.weight.n, n = uint32_t(x.size() / width);
  Routing routing;
  routing.n_tokens = n;
  routing.top_k = layer.rule.top_k;
  routing.n_shared = layer.shared.n;
  routing.gated_shared = layer.shared.gated;
  routing.ids = check.output(n * routing.uses(), "ids");
  routing.weights = check.output(n * routing.uses(), "weights");
  Rows in = check.input_rows(x, width), normed = check.output_rows(n, width, "normed");
  Rows logits = check.output_rows(n, n_logits, "logits");
  BufferView norm = check.input(layer.norm, "norm"), bias = check.input(layer.bias.empty() ? std::vector<float>(1) : layer.bias, "bias");
  check.run(tuning, [&](Recorder& r) {
    if (fused) {
      check.that(fuses_router(r, layer.rule, layer.weight, n), "expected a router that is fused");
      norm_and_choose(r, {layer.rule, layer.weight, in, normed, logits, norm, bias, layer.epsilon}, routing);
      return;
    }
    rmsnorm(r, in, norm, normed, n, 0, width, layer.epsilon);
    matmul(r, {.weight = layer.weight, .x = normed, .y = logits, .n_rows = n});
    choose_experts(r, layer.rule, logits, bias, routing);
  });
  check.padding_untouched(logits, n, n_logits);
  return {check.read_rows(normed, n, width), check.read_rows(logits, n, n_logits),
          check.read<float>(routing.weights, n * routing.uses()), check.read<uint32_t>(routing.ids, n * routing.uses())};
}

void check_router(Check& check, uint32_t lanes, GateRule rule, const Shape& s, bool biased_logits) {
  Tuning tuning = with_lanes(check, lanes);
  tuning.fused_router_bytes = UINT64_MAX;
  rule.n_experts = s.experts;
  rule.top_k = s.top_k;
  uint32_t n_logits = s.experts + s.shared.gated, uses = s.top_k + s.shared.n;
  RandomMatrix router(check, *find_format("F32"), 1, n_logits, s.width, true);
  // Logits of a few units: further apart, scores would be denormals, which a device may flush to zero, where they tie.
  double norm = std::min(1.0, 8 / std::sqrt(double(s.width)));
  Layer layer = {rule, place(check, router.matrix), random_values(check, s.width, norm), stepped_bias(check, rule), s.shared};
  std::vector<float> logit_bias = biased_logits ? random_values(check, n_logits) : std::vector<float>(n_logits);
  layer.weight.biased = biased_logits;
  if (biased_logits) layer.weight.bias = place_vector(check.device(), logit_bias, "router bias");
  std::vector<float> x = random_values(check, size_t(s.tokens) * s.width, 4);
  Routed got = run_router(check, tuning, layer, x, true), apart = run_router(check, tuning, layer, x, false);
  check.equal("normed of rmsnorm", got.normed, apart.normed);
  check.equal("logits of matmul", got.logits, apart.logits);
  check.equal("ids of gate", got.ids, apart.ids);
  check.equal("weights of gate", got.weights, apart.weights);

  std::vector<double> want_normed, bound_normed, want_logits, bound_logits;
  for (uint32_t t = 0; t < s.tokens; ++t) {
    double squares = 0;
    for (uint32_t i = 0; i < s.width; ++i) squares += double(x[t * s.width + i]) * x[t * s.width + i];
    double scale = 1 / std::sqrt(squares / s.width + layer.epsilon);
    for (uint32_t i = 0; i < s.width; ++i) {
      want_normed.push_back(x[t * s.width + i] * scale * layer.norm[i]);
      bound_normed.push_back(std::abs(want_normed.back()) * half_ulp * (s.width / 2.0 + 16) + smallest);
    }
    for (uint32_t e = 0; e < n_logits; ++e) {
      Product p = product(router.row(0, e), &got.normed[t * s.width], s.width);
      want_logits.push_back(p.value + logit_bias[e]);
      bound_logits.push_back(p.bound + half_ulp * (std::abs(p.value) + std::abs(logit_bias[e])));
    }
    check_token(check, rule, {&got.logits[t * n_logits], &got.logits[t * n_logits] + s.experts}, layer.bias, {},
                &got.ids[t * uses], &got.weights[t * uses]);
    check_shared(check, rule, s.shared, got.logits[(t + 1) * n_logits - 1], &got.ids[t * uses + s.top_k], &got.weights[t * uses + s.top_k]);
  }
  check.close("normed", got.normed, want_normed, bound_normed);
  check.close("logits", got.logits, want_logits, bound_logits);
}

}  // namespace

void add_router(Cases& cases) {
  // Experts that fill no strip of eight rows, one and several tiles; segments with and without blocks.
  const std::vector<Shape> shapes = {{8, 2, 3, 64, true},     {32, 8, 1, 1024, true},  {60, 4, 2, 288, true},
                                     {1, 1, 2, 32, true},     {8, 2, 1, 4096, false},  {128, 8, 2, 2048, false},
                                     {256, 8, 1, 512, false}, {16, 4, 1, 7168, false}, {12, 3, 5, 2880, false},
                                     {32, 4, 3, 64, true, {2, true}}, {8, 2, 2, 96, true, {1, false}}, {255, 8, 1, 64, false, {4, true}}};
  for (const NamedRule& rule : gate_rules()) {
    for (bool biased_logits : {false, true}) {
      if (biased_logits && rule.rule.has_bias) continue;
      for (const Lanes& lanes : all_lanes()) {
        for (const Shape& s : shapes) {
          const GateRule& r = rule.rule;
          if (r.n_groups && (s.experts % r.n_groups || s.experts / r.n_groups * r.top_groups < s.top_k)) continue;
          if (s.experts > 64 && (r.has_bias || r.n_groups)) continue;  // sums may tie by rounding
          bool first = &s == &shapes[0], plain = r.score == SCORE_SOFTMAX && r.renormalize && !r.has_bias;
          bool quick = s.quick && lanes.quick && (first || (plain && !biased_logits));
          cases.push_back({"router", cat(rule.name, biased_logits ? ",biased-logits" : "", ",lanes=", lanes.lanes),
                           cat("experts=", s.experts, ",top_k=", s.top_k, ",tokens=", s.tokens, ",width=", s.width, s.shared.n ? cat(",shared=", s.shared.n, s.shared.gated ? ",gated" : "") : ""), quick,
                           [=](Check& check) { check_router(check, lanes.lanes, r, s, biased_logits); }});
        }
      }
    }
  }
}

}  // namespace vkmoe::conformance
