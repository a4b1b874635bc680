// sample: the next token by penalty, temperature, top-k, min-p, top-p and seed.
#include <algorithm>
#include <cmath>

#include "conformance/cases.h"
#include "moe/ref/ref.h"

namespace vkmoe::conformance {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();

// Runs sample.comp once at a position with these latest tokens.
int32_t run_sample(Check& check, const Tuning& tuning, const SampleRule& rule, const std::vector<float>& logits,
                   const std::vector<int32_t>& recent, uint32_t position) {
  std::vector<uint32_t> history(HISTORY, 0xffffffffu), rule_words(sizeof(rule) / 4);
  for (size_t i = 0; i < recent.size(); ++i) history[(position - recent.size() + i) % HISTORY] = uint32_t(recent[i]);
  std::memcpy(rule_words.data(), &rule, sizeof(rule));
  uint32_t sampled = SAMPLE_RING + 3;
  SampleBuffers b{check.input(rule_words, "rule"), check.input(logits, "logits"), check.output(logits.size(), "adjusted"),
                  check.input(std::vector<uint32_t>{0, position, sampled, 0}, "step"), check.input(history, "history"),
                  check.output(1, "tokens"), check.output(SAMPLE_RING, "ring")};
  check.run(tuning, [&](Recorder& r) { sample(r, b, uint32_t(logits.size())); });
  uint32_t id = check.read<uint32_t>(b.tokens, 1)[0];
  check.that(id < logits.size(), "token: expected one of ", logits.size(), ", found ", id);
  check.equal("ring", check.read<uint32_t>(b.ring, 1, sampled % SAMPLE_RING), {id});
  history[position % HISTORY] = id;
  check.equal("history", check.read<uint32_t>(b.history, HISTORY), history);
  check.equal("step", check.read<uint32_t>(b.step, 4), {0, position, sampled + 1, 0});
  return int32_t(id);
}

void check_draw(Check& check, const Tuning& tuning, const SampleRule& rule, const std::vector<float>& logits,
                const std::vector<int32_t>& recent, uint32_t position) {
  int32_t got = run_sample(check, tuning, rule, logits, recent, position);
  std::vector<uint64_t> weights = ref::sample_weights(rule, logits, recent);
  // |x| < 40 for any weight that is not 0: each boundary between tokens may lie off by so large a share of the whole.
  double off = 2 * exp_error(40) / 2 * 0x1p32;
  double fraction = ref::philox(position, rule.seed_low, rule.seed_high);
  int32_t low = ref::draw(weights, uint32_t(std::max(fraction - off, 0.0)));
  int32_t high = ref::draw(weights, uint32_t(std::min(fraction + off, 0x1p32 - 1)));
  check.that(got >= low && got <= high && weights[got] > 0, "token: expected ", low, low == high ? "" : cat(" to ", high),
             ", found ", got, " of weight ", weights[got]);
}

struct Rule {
  const char* name;
  SampleRule rule;
};
const std::vector<Rule>& rules() {
  // temperature, top-k, top-p, min-p, penalty, its tokens, seed
  static const std::vector<Rule> all = {
      {"greedy", {0, 0, 1, 0, 1, 0, 1, 0}},          {"greedy-penalty", {0, 0, 1, 0, 3, 8, 1, 0}},
      {"plain", {1, 0, 1, 0, 1, 0, 1, 0}},           {"top-k", {0.7f, 40, 1, 0, 1, 0, 2, 0}},
      {"top-p", {1, 0, 0.9f, 0, 1, 0, 3, 0}},        {"min-p", {1.5f, 0, 1, 0.1f, 1, 0, 7, 1}},
      {"all", {1.3f, 20, 0.8f, 0.05f, 1.1f, 8, 4, 9}}, {"top-1", {1, 1, 1, 0, 1, 0, 5, 0}},
      {"few", {2, 3, 0.5f, 0, 1, 0, 6, 0}},          {"top-p-0", {1, 0, 0, 0, 1, 0, 8, 0}}};
  return all;
}

void add_draws(Cases& cases) {
  for (const Lanes& lanes : all_lanes()) {
    for (const Rule& rule : rules()) {
      for (uint32_t vocab : {1u, 7u, 513u, 5000u}) {
        for (const char* kind : {"", ",ties", ",flat"}) {
          if (lanes.lanes < 64 && vocab > 1000) continue;  // too much for one invocation (Tuning::most_iterations)
          bool quick = lanes.lanes == 128 || (lanes.lanes == 64 && vocab == 513);
          cases.push_back({"sample", cat(rule.name, ",lanes=", lanes.lanes), cat("vocab=", vocab, kind), quick,
                           [=, rule = rule.rule](Check& check) {
            std::normal_distribution<float> normal(0, 3);
            std::vector<float> logits(vocab);
            for (float& v : logits) v = normal(check.random);
            for (float& v : logits) v = kind[0] == 0 ? v : kind[1] == 't' ? std::round(v) : v / 256;  // flat: sums pass 32 bits
            for (uint32_t position : {8u, 9u, 700u}) {
              std::vector<int32_t> recent(8);
              for (int32_t& id : recent) id = int32_t(check.random() % vocab);
              check_draw(check, with_lanes(check, lanes.lanes), rule, logits, recent, position);
            }
          }});
        }
      }
    }
  }
}

// Two equal tokens of which the first alone reaches the half that top-p asks for, exactly.
void check_half(Check& check) {
  SampleRule rule = {1, 0, 0.5f, 0, 1, 0, 3, 0};
  for (uint32_t position : {8u, 9u, 10u, 11u, 12u}) check_draw(check, with_lanes(check, 128), rule, {5, -80, 5}, {}, position);
}

void add_known(Cases& cases) {
  cases.push_back({"sample", "known,lanes=128", "top-p-of-exactly-half", true, check_half});
  struct Known {
    const char* name;
    SampleRule rule;
    std::vector<float> logits;
    std::vector<int32_t> recent;
    int32_t want;
  };
  const SampleRule greedy = {0, 0, 1, 0, 1, 0, 0, 0};
  const std::vector<Known> known = {
      {"ties", greedy, {1, 5, 5, -2, 4.9f, 5}, {}, 1},
      {"penalty-counts-once", {0, 0, 1, 0, 2, 2, 0, 0}, {1, 5, 5, -2, 4.9f, 5}, {1, 1}, 2},
      {"penalty-of-three", {0, 0, 1, 0, 2, 3, 0, 0}, {1, 5, 5, -2, 4.9f, 5}, {5, 2, 1}, 4},
      {"penalty-of-last", {0, 0, 1, 0, 2, 1, 0, 0}, {1, 5, 5, -2, 4.9f, 5}, {1, 2, 5}, 1},
      {"penalty-of-negative", {0, 0, 1, 0, 2, 1, 0, 0}, {-1.5f, -1}, {1}, 0},
      {"some-nan", greedy, {nan, 2, nan, 3, nan}, {}, 3},
      {"all-nan", greedy, {nan, nan, nan}, {}, 0},
      {"infinity", greedy, {1, inf, 2, inf}, {}, 1},
      {"minus-infinity", greedy, {-inf, -inf, -3e38f, -inf}, {}, 2},
      {"zeros", greedy, {-0.0f, 0.0f, -1}, {}, 0},
      {"draw-some-nan", {1, 0, 1, 0, 1, 0, 3, 0}, {nan, 30, nan, -inf, -60}, {}, 1},
  };
  for (const Known& k : known) {
    cases.push_back({"sample", "known,lanes=128", k.name, true, [k](Check& check) {
      check.equal("token", {run_sample(check, with_lanes(check, 128), k.rule, k.logits, k.recent, 3)}, std::vector<int32_t>{k.want});
    }});
  }
}

}  // namespace

void add_sample(Cases& cases) {
  add_draws(cases);
  add_known(cases);
}

}  // namespace vkmoe::conformance
