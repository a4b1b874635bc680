// The whole path of a layer: gate, sort, tiles, grouped matmuls, combine; each step against the reference of what the
// device itself handed to it, and every token alone against inside the batch.
#include <algorithm>
#include <cmath>

#include "conformance/cases.h"
#include "conformance/weights.h"
#include "moe/ref/ref.h"

namespace vkmoe::conformance {
namespace {

struct Shape {
  uint32_t experts, top_k, tokens;
  const char* skew;  // how logits are bent
  bool shards, quick;
  bool scaled_input = false;  // weights count where experts begin, not where they are combined (Llama 4)
  uint32_t shared = 0;        // experts behind these that every token uses
};

struct Layer {
  RandomMatrix gate, up, down;
  Weight gate_up, down_weight;
  GateRule rule;
  bool scaled_input;
  uint32_t shared;
  uint32_t uses() const { return rule.top_k + shared; }
};

struct Passed {
  std::vector<uint32_t> ids, slot_of;
  std::vector<float> weights, hidden, out, x;
};

Passed run_layer(Check& check, const Tuning& tuning, const Layer& layer, const std::vector<float>& logits,
                 const std::vector<float>& normed, const std::vector<float>& residual) {
  uint32_t n_experts = layer.rule.n_experts, n_tokens = uint32_t(logits.size() / n_experts);
  uint32_t n = n_tokens * layer.uses(), hidden = layer.gate.matrix.k, ff = layer.gate.matrix.n;
  Routing routing = routing_for(check, n_tokens, layer.uses(), n_experts + layer.shared);
  routing.top_k = layer.rule.top_k;
  routing.n_shared = layer.shared;
  routing.ids = check.output(n, "ids");
  routing.weights = check.output(n, "weights");
  Rows rows = {check.input(logits, "logits"), n_experts}, x = check.input_rows(normed, hidden, "normed");
  Rows y = check.input_rows(residual, hidden, "residual");
  Rows inner = check.input_rows(std::vector<float>(size_t(n) * ff), ff, "expert hidden");
  Rows outs = check.output_rows(n, hidden, "expert out");
  BufferView bias = check.input(std::vector<float>(1), "bias");
  check.run(tuning, [&](Recorder& r) {
    route(r, layer.rule, rows, bias, routing, matmul_groups(r, layer.gate_up, layer.down_weight));
    expert_matmul(r, {.weight = layer.gate_up, .x = x, .y = inner, .routing = routing, .use = 0,
                      .scaled_input = layer.scaled_input, .epilogue = EPILOGUE_GATED});
    expert_matmul(r, {.weight = layer.down_weight, .x = inner, .y = outs, .routing = routing, .use = 1});
    combine(r, y, outs, hidden, routing, 1, true, !layer.scaled_input);
  });
  check.padding_untouched(inner, n, ff);
  check.padding_untouched(outs, n, hidden);
  std::vector<uint32_t> slots = check.read<uint32_t>(routing.slot_of, n);
  if (n_tokens == 1)
    for (uint32_t i = 0; i < n; ++i) slots[i] = i;
  return {check.read<uint32_t>(routing.ids, n), slots, check.read<float>(routing.weights, n), check.read_rows(inner, n, ff),
          check.read_rows(outs, n, hidden), check.read_rows(y, n_tokens, hidden)};
}

void check_steps(Check& check, const Layer& layer, const std::vector<float>& logits, const std::vector<float>& normed,
                 const std::vector<float>& residual, const Passed& got) {
  uint32_t k = layer.uses(), n_experts = layer.rule.n_experts, hidden = layer.gate.matrix.k, ff = layer.gate.matrix.n;
  std::vector<double> want_hidden(got.hidden.size()), bound_hidden = want_hidden, want_out(got.out.size());
  std::vector<double> bound_out = want_out, want_x(residual.begin(), residual.end()), bound_x(residual.size());
  for (uint32_t t = 0; t * n_experts < logits.size(); ++t) {
    ref::Choice choice = ref::gate(layer.rule, {&logits[t * n_experts], &logits[t * n_experts] + n_experts}, {});
    for (uint32_t e = n_experts; e < n_experts + layer.shared; ++e) choice.experts.push_back(e);
    check.equal("ids", {&got.ids[t * k], &got.ids[t * k] + k}, choice.experts);
    for (uint32_t j = 0; j < k; ++j) {
      uint32_t e = choice.experts[j], slot = got.slot_of[t * k + j];
      check.that(slot < got.ids.size(), "slot_of[", t * k + j, "]: found ", slot);
      for (uint32_t i = 0; i < ff; ++i) {
        Product g = product(layer.gate.row(e, i), &normed[t * hidden], hidden), u = product(layer.up.row(e, i), &normed[t * hidden], hidden);
        for (Product* p : {&g, &u}) {
          if (!layer.scaled_input) continue;
          double weight = got.weights[t * k + j];
          *p = {p->value * weight, (p->bound + half_ulp * std::abs(p->value)) * std::abs(weight)};
        }
        double sigmoid = 1 / (1 + std::exp(-g.value)), silu = g.value * sigmoid;
        want_hidden[slot * ff + i] = silu * u.value;
        bound_hidden[slot * ff + i] = std::abs(silu) * u.bound + (std::abs(u.value) + u.bound) *
            (1.1 * g.bound + std::abs(silu) * ((1 - sigmoid) * exp_error(g.value) + 8 * half_ulp));
      }
      for (uint32_t i = 0; i < hidden; ++i) {
        Product d = product(layer.down.row(e, i), &got.hidden[slot * ff], ff);
        want_out[slot * hidden + i] = d.value;
        bound_out[slot * hidden + i] = d.bound;
        double part = (layer.scaled_input ? 1.0 : got.weights[t * k + j]) * got.out[slot * hidden + i];
        want_x[t * hidden + i] += part;
        bound_x[t * hidden + i] += half_ulp * (k + 2) * std::abs(part);
      }
    }
    for (uint32_t i = 0; i < hidden; ++i) bound_x[t * hidden + i] += 2 * half_ulp * std::abs(residual[t * hidden + i]);
  }
  check.close("expert hidden", got.hidden, want_hidden, bound_hidden);
  check.close("expert out", got.out, want_out, bound_out);
  check.close("x", got.x, want_x, bound_x);
}

void check_layer(Check& check, const Tuning& tuning, const Format& format, const Shape& s) {
  uint32_t hidden = columns(format), ff = hidden;
  uint32_t experts = s.experts + s.shared;
  Layer layer = {{check, format, experts, ff, hidden, true}, {check, format, experts, ff, hidden, true},
                 {check, format, experts, hidden, ff, true}, {}, {},
                 {s.experts, s.top_k, SCORE_SOFTMAX, 0, 0, 0, 0, WEIGHT_SCORE, 1, 0, -INFINITY, 1}, s.scaled_input, s.shared};
  layer.gate_up = place(check, layer.gate.matrix, &layer.up.matrix);
  layer.down_weight = place(check, layer.down.matrix);
  if (s.shards) {  // in the middle of an expert
    layer.gate_up = cut(check, layer.gate_up, layer.gate_up.expert_tiles / 4 * 2 + 2);
    layer.down_weight = cut(check, layer.down_weight, layer.down_weight.expert_tiles + 1);
  }
  std::vector<float> logits = random_values(check, size_t(s.tokens) * s.experts, 4);
  std::string skew = s.skew;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (skew == "one-expert" && i % s.experts == s.experts - 1) logits[i] += 100;
    if (skew == "half-empty" && i % s.experts % 2 == 1) logits[i] -= 100;
  }
  std::vector<float> normed = random_values(check, size_t(s.tokens) * hidden), residual = random_values(check, normed.size());
  Passed got = run_layer(check, tuning, layer, logits, normed, residual);
  check_steps(check, layer, logits, normed, residual, got);
  for (uint32_t t : {0u, s.tokens - 1}) {
    auto row = [&](const std::vector<float>& all, uint32_t width) {
      return std::vector<float>(&all[t * width], &all[t * width] + width);
    };
    Passed alone = run_layer(check, tuning, layer, row(logits, s.experts), row(normed, hidden), row(residual, hidden));
    check.equal(cat("x of token ", t, " alone"), alone.x, row(got.x, hidden));
  }
}

}  // namespace

void add_moe_layer(Cases& cases) {
  // Remainders of every tile height; more experts than tokens; an expert that everyone chooses; one expert.
  const std::vector<Shape> shapes = {{4, 2, 13, "random", true, true},    {3, 1, 9, "one-expert", false, true},
                                     {8, 2, 2, "random", false, true},    {6, 3, 21, "half-empty", true, true},
                                     {1, 1, 5, "random", false, true},    {4, 2, 9, "random", false, true, true}, {2, 1, 4, "one-expert", false, true},
                                     {4, 2, 13, "random", true, true, false, 2}, {3, 1, 37, "random", false, true, true, 1},
                                     {4, 4, 33, "random", false, true},  {2, 1, 70, "random", true, false},
                                     {16, 1, 40, "one-expert", true, false}, {5, 2, 150, "half-empty", false, false}};
  for (const char* tuning : {"device", "cpu", "gpu", "mali"}) {
    for (const Format* format : all_formats()) {
      for (const Shape& s : shapes) {
        bool device = std::string(tuning) == "device", f32 = format->name == std::string("F32");
        bool first = &s == &shapes[0];
        if (!f32 && (!first || tuning == std::string("mali"))) continue;
        cases.push_back({"moe_layer", cat(lower_name(*format), ",tuning=", tuning),
                         cat("experts=", s.experts, ",top_k=", s.top_k, ",tokens=", s.tokens, ",", s.skew, s.shards ? ",shards" : "", s.scaled_input ? ",scaled-input" : "",
                             s.shared ? cat(",shared=", s.shared) : ""),
                         s.quick && (f32 ? !device : device), [=, name = std::string(tuning)](Check& check) {
          Caps caps = check.caps();
          if (name == "mali") caps.vendor_id = 0x13b5;
          Tuning chosen = name == "cpu" ? Tuning::cpu(caps) : name == "device" ? Tuning::of(caps) : Tuning::gpu(caps);
          check_layer(check, chosen, *format, s);
        }});
      }
    }
  }
}

}  // namespace vkmoe::conformance
