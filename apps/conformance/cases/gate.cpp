// gate: which experts a token's router logits choose, in which order, with which weights.
#include <algorithm>
#include <array>
#include <cmath>

#include "conformance/cases.h"
#include "moe/ref/ref.h"

namespace vkmoe::conformance {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();

struct Gated {
  std::vector<uint32_t> ids;
  std::vector<float> weights;
};

struct Tokens {
  std::vector<float> logits;  // (n_tokens, stride)
  uint32_t stride;
  std::vector<float> bias;    // or noise logits, (n_tokens, stride)
  std::vector<uint32_t> ids, table;
  uint32_t first_token = 0;
  SharedUse shared = {};  // gated: the last of a row is their logit
};

Gated run_gate(Check& check, const Tuning& tuning, const GateRule& rule, const Tokens& in) {
  Routing routing;
  routing.n_tokens = uint32_t(in.logits.size() / in.stride);
  routing.top_k = rule.top_k;
  routing.first_token = in.first_token;
  routing.n_shared = in.shared.n;
  routing.gated_shared = in.shared.gated;
  size_t n = size_t(routing.n_tokens) * routing.uses();
  routing.ids = check.output(n, "ids");
  routing.weights = check.output(n, "weights");
  if (!in.table.empty()) {
    routing.tokens = check.input(in.ids, "tokens");
    routing.table = check.input(in.table, "table");
  }
  Rows rows = {check.input(in.logits, "logits"), in.stride};
  BufferView bias = check.input(in.bias.empty() ? std::vector<float>(1) : in.bias, "bias");
  check.run(tuning, [&](Recorder& r) { choose_experts(r, rule, rows, bias, routing); });
  return {check.read<uint32_t>(routing.ids, n), check.read<float>(routing.weights, n)};
}

// Relative error of each expert's score: exp, the sum of a softmax, divisions of 2.5 units (Vulkan) and square roots.
std::vector<double> score_errors(const GateRule& rule, std::vector<float> logits) {
  for (float& z : logits) z = ref::finite_logit(z);
  double maximum = *std::max_element(logits.begin(), logits.end()), mass = 0, mass_error = 0;
  std::vector<double> errors(logits.size(), 16 * half_ulp);
  bool sigmoid = rule.score == SCORE_SIGMOID || rule.weight == WEIGHT_SIGMOID;
  bool softmax = !sigmoid && (rule.score == SCORE_SOFTMAX || rule.weight != WEIGHT_SCORE || rule.choose == CHOOSE_TREE);
  for (float z : logits) mass += std::exp(z - maximum);
  for (float z : logits) mass_error += std::exp(z - maximum) / mass * exp_error(z - maximum);
  for (size_t e = 0; e < logits.size(); ++e) {
    double z = logits[e];
    if (softmax) errors[e] += exp_error(z - maximum) + mass_error + double(logits.size()) * half_ulp;
    else if (sigmoid) errors[e] += exp_error(z) / (1 + std::exp(z));
    else if (rule.score == SCORE_SQRT_SOFTPLUS) errors[e] += exp_error(z) * (z > 0 ? std::exp(-z) : 1);
  }
  return errors;
}

// The ids and weights of all tokens together, and of the last one alone.
void check_gate(Check& check, const Tuning& tuning, const GateRule& rule, const Tokens& in) {
  Gated got = run_gate(check, tuning, rule, in);
  uint32_t n_tokens = uint32_t(in.logits.size() / in.stride), k = rule.top_k, uses = k + in.shared.n;
  auto row = [&](const std::vector<float>& all, size_t t) {
    return std::vector<float>(all.begin() + t * in.stride, all.begin() + (t + 1) * in.stride);
  };
  for (uint32_t t = 0; t < n_tokens; ++t) {
    ref::TokenInfo token;
    token.number = in.first_token + t;
    if (rule.noise) token.noise = row(in.bias, t);
    if (!in.table.empty()) token.table = {&in.table[in.ids[t] * k], &in.table[in.ids[t] * k] + k};
    std::vector<float> logits = row(in.logits, t);
    float shared_logit = logits.back();
    if (in.shared.gated) logits.pop_back();
    check_token(check, rule, logits, rule.noise ? std::vector<float>() : in.bias, token, &got.ids[t * uses], &got.weights[t * uses]);
    check_shared(check, rule, in.shared, shared_logit, &got.ids[t * uses + k], &got.weights[t * uses + k]);
  }
  Tokens last = in;
  last.logits = row(in.logits, n_tokens - 1);
  if (rule.noise) last.bias = row(in.bias, n_tokens - 1);
  if (!in.ids.empty()) last.ids = {in.ids.back()};
  last.first_token += n_tokens - 1;
  Gated alone = run_gate(check, tuning, rule, last);
  check.equal("ids of the last token alone", alone.ids, {got.ids.end() - uses, got.ids.end()});
  check.equal("weights of the last token alone", alone.weights, {got.weights.end() - uses, got.weights.end()});
}

// Distinct multiples of 1/64 in [-8, 8): no two scores are closer than their rounding. With ties: 0, 1 or 2.
std::vector<float> spread_logits(Check& check, uint32_t n_tokens, uint32_t n_experts, bool ties) {
  std::vector<float> all, row(n_experts);
  for (uint32_t t = 0; t < n_tokens; ++t) {
    for (uint32_t e = 0; e < n_experts; ++e) row[e] = ties ? float(check.random() % 3) : float(e % 1024) / 64 - 8;
    std::shuffle(row.begin(), row.end(), check.random);
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

struct Shape {
  uint32_t experts, top_k, tokens;
  bool ties, quick;
  SharedUse shared = {};
  std::string name() const {
    return cat("experts=", experts, ",top_k=", top_k, ",tokens=", tokens, ties ? ",ties" : "",
               shared.n ? cat(",shared=", shared.n, shared.gated ? ",gated" : "") : "");
  }
};

// Logits of the shape's experts, each token's followed by that of the shared ones where they are gated; some of these are what
// no network should make.
std::vector<float> shape_logits(Check& check, const Shape& s) {
  std::vector<float> plain = spread_logits(check, s.tokens, s.experts, s.ties), all;
  if (!s.shared.gated) return plain;
  for (uint32_t t = 0; t < s.tokens; ++t) {
    all.insert(all.end(), &plain[t * s.experts], &plain[t * s.experts] + s.experts);
    all.push_back(t == 1 ? nan : t == 2 ? inf : random_values(check, 1, 4)[0]);
  }
  return all;
}

void add_rules(Cases& cases) {
  std::vector<Shape> shapes = {{8, 2, 1, false, true}, {8, 2, 70, true, true}, {64, 6, 40, false, true},
                                     {4, 4, 3, true, true}, {60, 4, 33, true, false}, {128, 8, 40, true, false},
                                     {128, 1, 9, false, false}, {256, 8, 5, false, false}, {1024, 64, 2, false, true},
                                     {1024, 64, 2, true, false}, {1000, 10, 3, false, false}, {1, 1, 5, false, true}};
  for (SharedUse shared : {SharedUse{1, false}, {3, true}, {70, true}})
    for (Shape s : {Shape{8, 2, 5, false, true}, {60, 4, 33, false, false}, {16, 4, 3, true, true}, {1024, 64, 2, true, false}}) {
      s.shared = shared;
      shapes.push_back(s);
    }
  for (const NamedRule& rule : gate_rules()) {
    for (const Lanes& lanes : all_lanes()) {
      for (const Shape& s : shapes) {
        GateRule r = rule.rule;
        r.n_experts = s.experts;
        r.top_k = s.top_k;
        if (r.n_groups && (s.experts % r.n_groups || s.experts / r.n_groups * r.top_groups < s.top_k)) continue;
        // Sums of score and bias, or of two scores, may tie by rounding where the scores themselves lie apart.
        if (s.experts > 64 && (r.has_bias || r.n_groups) && !s.ties) continue;
        bool quick = s.quick && lanes.quick && (s.experts < 1024 || rule.rule.score == SCORE_SOFTMAX);
        cases.push_back({"gate", cat(rule.name, ",lanes=", lanes.lanes), s.name(), quick, [r, s, lanes](Check& check) {
          std::vector<float> bias = stepped_bias(check, r);
          check_gate(check, with_lanes(check, lanes.lanes), r, {shape_logits(check, s), s.experts + s.shared.gated, bias, {}, {}, 0, s.shared});
        }});
      }
    }
  }
}

// Logits that no network should make: the outcome is defined all the same (shared/route.h).
void add_hostile(Cases& cases) {
  struct Hostile {
    const char* name;
    std::vector<float> logits;  // 8 experts
  };
  const std::vector<Hostile> hostile = {
      {"all-nan", {nan, nan, nan, nan, nan, nan, nan, nan}},
      {"some-nan", {1, nan, 0.5f, -3, nan, 7, nan, 6}},
      {"infinities", {-inf, 3, inf, 2, inf, -inf, 1, 0}},
      {"all-minus-infinity", {-inf, -inf, -inf, -inf, -inf, -inf, -inf, -inf}},
      {"nan-and-infinities", {nan, inf, -inf, nan, -inf, inf, nan, 5}},
      {"largest-finite", {3e38f, -3e38f, 1, 3e38f, 0, -3e38f, 2, 3e38f}},
      {"fp16-overflow", {65504, -65504, 65472, 70000, 65504, 0, -70000, 1}},
      {"denormal", {1e-40f, 0.0f, -0.0f, -1e-40f, 1e-45f, 1, 1, -1}},
  };
  for (const Hostile& h : hostile) {
    for (const NamedRule& rule : gate_rules()) {
      // What is near to a denormal depends on whether the device flushes it to zero, as Vulkan allows.
      if (rule.rule.weight == WEIGHT_SPARSEMIXER && h.name == std::string("denormal")) continue;
      for (uint32_t lanes : {8u, 64u}) {
        cases.push_back({"gate", cat(rule.name, ",lanes=", lanes), cat("experts=8,top_k=3,", h.name), true,
                         [rule = rule.rule, logits = h.logits, lanes](Check& check) {
          GateRule r = rule;
          r.n_experts = 8;
          r.top_k = 3;
          check_gate(check, with_lanes(check, lanes), r, {logits, 8, stepped_bias(check, r), {}, {}});
        }});
      }
    }
  }
}

// Noise comes from a polynomial on the device and from the distribution itself in the reference, so two logits that
// differ by less than its error may change places: the choice must be the best up to that, the weights those of the choice.
void check_noise(Check& check, const Tuning& tuning, const GateRule& r, const Tokens& in) {
  Gated got = run_gate(check, tuning, r, in);
  for (uint32_t t = 0; t * in.stride < in.logits.size(); ++t) {
    std::vector<double> noisy;
    for (uint32_t e = 0; e < r.n_experts; ++e) {
      uint32_t at = t * in.stride + e;
      double z = in.bias[at], softplus = std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z)));
      auto bits = ref::philox({in.first_token + t, e / 4, DRAW_NOISE, 0}, r.seed_low, r.seed_high);
      noisy.push_back(in.logits[at] + ref::normal(bits[e % 4]) * softplus);
    }
    std::vector<double> order = noisy, want, bound;
    std::sort(order.rbegin(), order.rend());
    // |noise| < 5.4 and softplus < 2.2, to 2^-20 each (AS 241: 1e-7; log and exp 3 and 7 units); logits below 8.
    double error = 5.4 * 2.2 * 2 * 0x1p-20 + 16 * half_ulp, sum = 0;
    std::vector<bool> seen(r.n_experts, false);
    for (uint32_t j = 0; j < r.top_k; ++j) {
      uint32_t id = got.ids[t * r.top_k + j];
      check.that(id < r.n_experts && !seen[id], "ids[", t, ", ", j, "]: found ", id, ", out of range or for the second time");
      seen[id] = true;
      check.that(std::abs(noisy[id] - order[j]) <= 2 * error, "ids[", t, ", ", j, "]: expected logit ", order[j], ", found ", noisy[id]);
      sum += std::exp(noisy[id] - order[0]);
    }
    for (uint32_t j = 0; j < r.top_k; ++j) {
      double z = noisy[got.ids[t * r.top_k + j]] - order[0];
      want.push_back(std::exp(z) / sum);
      bound.push_back(want[j] * (4 * error + 2 * exp_error(z) + (r.top_k + 8) * half_ulp));
    }
    check.close("weights", {&got.weights[t * r.top_k], &got.weights[t * r.top_k] + r.top_k}, want, bound);
  }
}

// Whether a second expert stays: by chance, so both must be seen, and one near the edge may go either way.
void check_second(Check& check, const Tuning& tuning, const GateRule& r, Tokens in) {
  in.logits = random_values(check, 64 * in.stride, 1);
  GateRule plain = r;
  plain.random_second = 0;
  Gated got = run_gate(check, tuning, r, in), all = run_gate(check, tuning, plain, in);
  check.equal("ids", got.ids, all.ids);
  uint32_t stayed = 0;
  for (uint32_t t = 0; t < 64; ++t) {
    float w = all.weights[2 * t + 1], second = got.weights[2 * t + 1];
    double u = (ref::philox({in.first_token + t, 1, DRAW_SECOND, 0}, r.seed_low, r.seed_high)[0] >> 8) * 0x1p-24;
    check.that(second == (2.0f * w > float(u) ? w : 0.0f), "weights[", t, ", 1]: ", w, " with chance ", u, ", found ", second);
    check.that(got.weights[2 * t] == all.weights[2 * t], "weights[", t, ", 0]: must stay");
    stayed += second != 0;
  }
  check.that(stayed > 0 && stayed < 64, "seconds that stay: found ", stayed, " of 64");
}

// Rules of papers that no decoder uses: what they need besides logits is made here.
void check_paper_rule(Check& check, const Tuning& tuning, GateRule r, uint32_t tokens) {
  Tokens in;
  in.stride = r.n_experts + (r.choose == CHOOSE_TREE ? r.n_groups : 0);
  in.first_token = 1000;
  for (uint32_t t = 0; t < tokens; ++t) {
    std::vector<float> row = spread_logits(check, 1, r.n_experts, false);
    if (r.choose == CHOOSE_TREE) {
      std::vector<float> groups = spread_logits(check, 1, r.n_groups, false);
      row.insert(row.end(), groups.begin(), groups.end());
    }
    in.logits.insert(in.logits.end(), row.begin(), row.end());
  }
  r.seed_low = uint32_t(check.random());
  r.seed_high = uint32_t(check.random());
  if (r.choose == CHOOSE_TABLE) {
    for (uint32_t i = 0; i < 50 * r.top_k; ++i) in.table.push_back((i / r.top_k * 7 + i % r.top_k * 3) % r.n_experts);
    for (uint32_t t = 0; t < tokens; ++t) in.ids.push_back(t == 0 ? 49 : uint32_t(check.random() % 50));
  }
  if (r.noise) {
    in.bias = random_values(check, in.logits.size(), 2);
    check_noise(check, tuning, r, in);
  } else if (r.random_second) {
    check_second(check, tuning, r, in);
  } else {
    check_gate(check, tuning, r, in);
  }
}

void add_paper_rules(Cases& cases) {
  auto rule = [](uint32_t experts, uint32_t top_k, uint32_t score, uint32_t weight, uint32_t renormalize) {
    return GateRule{experts, top_k, score, 0, 0, 0, 0, weight, renormalize, 0, -INFINITY, 1};
  };
  struct Paper {
    const char* name;
    GateRule rule;
  };
  std::vector<Paper> papers = {{"soft-mixture", rule(8, 8, SCORE_SOFTMAX, WEIGHT_SCORE, 0)},  // Jacobs et al. 1991
                               {"soft-mixture", rule(64, 64, SCORE_SOFTMAX, WEIGHT_SCORE, 0)},
                               {"glam", rule(64, 2, SCORE_SOFTMAX, WEIGHT_SCORE, 1)}};         // Du et al. 2021: GShard's
  for (uint32_t experts : {8u, 128u, 1024u}) {
    GateRule noisy = rule(experts, experts == 1024 ? 64 : 4, SCORE_LOGIT, WEIGHT_SOFTMAX, 0);
    noisy.noise = 1;
    papers.push_back({"noisy-top-k", noisy});
  }
  for (auto [experts, top_k, groups, top_groups] : {std::array<uint32_t, 4>{16, 4, 4, 2}, {64, 6, 8, 3}, {64, 2, 8, 2}, {1024, 64, 64, 16}}) {
    GateRule tree = rule(experts, top_k, SCORE_LOGIT, WEIGHT_SOFTMAX, 0);
    tree.choose = CHOOSE_TREE;
    tree.n_groups = groups;
    tree.top_groups = top_groups;
    papers.push_back({"tree", tree});
  }
  for (uint32_t score : {SCORE_SOFTMAX, SCORE_SQRT_SOFTPLUS}) {
    GateRule hash = rule(16, score == SCORE_SOFTMAX ? 1 : 3, score, WEIGHT_SCORE, 1);
    hash.choose = CHOOSE_TABLE;
    papers.push_back({"table", hash});
  }
  GateRule second = rule(8, 2, SCORE_SOFTMAX, WEIGHT_SCORE, 1);
  second.random_second = 1;
  papers.push_back({"random-second", second});
  second.renormalize = RENORMALIZE_NONE;  // weights below a half, so that it matters which choice it is
  papers.push_back({"random-second-plain", second});
  for (const Paper& p : papers) {
    for (const Lanes& lanes : all_lanes()) {
      cases.push_back({"gate", cat(p.name, ",lanes=", lanes.lanes), cat("experts=", p.rule.n_experts, ",top_k=", p.rule.top_k, ",tokens=9"),
                       lanes.quick, [=](Check& check) { check_paper_rule(check, with_lanes(check, lanes.lanes), p.rule, 9); }});
    }
  }
}

}  // namespace

const std::vector<NamedRule>& gate_rules() {
  static const std::vector<NamedRule> all = {
      // score, bias, groups, top_groups, group_score, weight, renormalize, denominator +, at least, scale
      {"softmax-renorm", {0, 0, SCORE_SOFTMAX, 0, 0, 0, 0, WEIGHT_SCORE, 1, 0, -INFINITY, 1}},            // Mixtral, Qwen3
      {"softmax", {0, 0, SCORE_SOFTMAX, 0, 0, 0, 0, WEIGHT_SCORE, 0, 0, -INFINITY, 1}},                   // Qwen2, OLMoE
      {"softmax-of-chosen", {0, 0, SCORE_LOGIT, 0, 0, 0, 0, WEIGHT_SOFTMAX, 0, 0, -INFINITY, 1.5f}},      // Granite, gpt-oss
      {"softmax-bias-least", {0, 0, SCORE_SOFTMAX, 1, 0, 0, 0, WEIGHT_SCORE, 1, 0, 0.25f, 1}},            // ERNIE-4.5
      {"sigmoid", {0, 0, SCORE_SIGMOID, 0, 0, 0, 0, WEIGHT_SCORE, 0, 0, -INFINITY, 1}},
      {"sigmoid-of-chosen", {0, 0, SCORE_LOGIT, 0, 0, 0, 0, WEIGHT_SIGMOID, 0, 0, -INFINITY, 1}},         // Llama-4
      {"softmax-bias-weight-sigmoid", {0, 0, SCORE_SOFTMAX, 1, 0, 0, 0, WEIGHT_SIGMOID, 0, 0, -INFINITY, 1}},  // weights of the logits
      {"sigmoid-bias-renorm", {0, 0, SCORE_SIGMOID, 1, 0, 0, 0, WEIGHT_SCORE, 1, 1e-6f, -INFINITY, 2.5f}},  // dots1
      {"sqrt-softplus-bias", {0, 0, SCORE_SQRT_SOFTPLUS, 1, 0, 0, 0, WEIGHT_SCORE, 1, 0, -INFINITY, 2}},  // DeepSeek-V4
      {"groups-by-maximum", {0, 0, SCORE_SOFTMAX, 0, 4, 2, GROUP_MAX, WEIGHT_SCORE, 0, 0, -INFINITY, 16}},    // DeepSeek-V2
      {"groups-by-best-two", {0, 0, SCORE_SIGMOID, 1, 4, 2, GROUP_SUM2, WEIGHT_SCORE, 1, 1e-20f, -INFINITY, 2.5f}},  // V3
      {"softmax-norm-of-power", {0, 0, SCORE_SOFTMAX, 0, 0, 0, 0, WEIGHT_SCORE, 1, 0, -INFINITY, 1, 0, 0, 0, 2}},  // DBRX
      {"sparsemixer", {0, 0, SCORE_LOGIT, 0, 0, 0, 0, WEIGHT_SPARSEMIXER, 0, 0, -INFINITY, 1, 0, 0, 0, 0, 0.02f}},  // Phi-3.5
  };
  return all;
}

std::vector<float> stepped_bias(Check& check, const GateRule& rule) {
  std::vector<float> bias;
  if (!rule.has_bias) return bias;
  for (uint32_t e = 0; e < rule.n_experts; ++e) bias.push_back(float(e) / 16 + float(e * e) / 131072);
  std::shuffle(bias.begin(), bias.end(), check.random);
  return bias;
}

void check_token(Check& check, const GateRule& rule, const std::vector<float>& logits, const std::vector<float>& bias,
                 const ref::TokenInfo& token, const uint32_t* ids, const float* weights) {
  ref::Choice want = ref::gate(rule, logits, bias, token);
  uint32_t k = rule.top_k;
  check.equal("ids", std::vector<uint32_t>(ids, ids + k), want.experts);
  std::vector<double> errors = score_errors(rule, logits), bound, exact(want.weights.begin(), want.weights.end());
  double sum = 0, sum_error = 0;  // relative, of the denominator, if there is one
  for (float w : want.weights) sum += w;
  for (uint32_t j = 0; j < k && sum > 0; ++j) sum_error += errors[want.experts[j]] * want.weights[j] / sum;
  // pow(x, y) is exp2(y * log2(x)) (Vulkan): once for each weight, |x| < 16 and y near 1, and once for their norm.
  if (rule.norm_power > 0 && rule.norm_power != 1) sum_error += 3 * exp_error(16 * rule.norm_power);
  for (uint32_t j = 0; j < k; ++j)
    bound.push_back((errors[want.experts[j]] + sum_error + (k + 8) * half_ulp) * std::abs(want.weights[j]));
  check.close("weights", std::vector<float>(weights, weights + k), exact, bound);
}

void check_shared(Check& check, const GateRule& rule, const SharedUse& shared, float logit, const uint32_t* ids, const float* weights) {
  double z = ref::finite_logit(logit), want = shared.gated ? 1 / (1 + std::exp(-z)) : 1;
  double error = shared.gated ? score_errors({1, 1, SCORE_SIGMOID}, {logit})[0] : 0;
  for (uint32_t j = 0; j < shared.n; ++j) {
    check.equal("id of a shared expert", std::vector<uint32_t>{ids[j]}, {rule.n_experts + j});
    check.close("weight of a shared expert", std::vector<float>{weights[j]}, {want}, {error * want});
  }
}

void add_gate(Cases& cases) {
  add_rules(cases);
  add_hostile(cases);
  add_paper_rules(cases);
}

}  // namespace vkmoe::conformance
