// Gating, counting sort, tiles and combine on the device against the reference.
#include <algorithm>
#include <limits>
#include <numeric>

#include "moe/arch/arch.h"
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

Buffer upload(const void* bytes, size_t size, const char* name) {
  Buffer buffer = device()->create_buffer(std::max<size_t>(size, 16), MemoryUse::device, name);
  if (size) device()->upload(buffer, 0, bytes, size);
  return buffer;
}
template <class T>
Buffer upload(const std::vector<T>& values, const char* name) {
  return upload(values.data(), values.size() * sizeof(T), name);
}
Buffer space(size_t bytes, const char* name) { return device()->create_buffer(std::max<size_t>(bytes, 16), MemoryUse::device, name); }
template <class T>
std::vector<T> download(const BufferView& view, size_t n) {
  std::vector<T> values(n);
  device()->read_back(view.buffer, view.offset, values.data(), n * sizeof(T));
  return values;
}

// Routes n_tokens rows of logits and keeps everything that route() wrote.
struct Routed {
  std::vector<uint32_t> ids, sorted, slot_of, offsets, tiles, groups;
  std::vector<float> weights;
  uint32_t capacity;
};

Routed run_route(const GateRule& rule, const std::vector<float>& logits, const std::vector<float>& bias, uint32_t n_tokens) {
  uint32_t n = n_tokens * rule.top_k, chunks = (n + SORT_CHUNK - 1) / SORT_CHUNK;
  Routing routing;
  routing.n_tokens = n_tokens;
  routing.top_k = rule.top_k;
  routing.tile_capacity = n;
  routing.chosen = space(n * 4, "chosen");
  routing.scores = space(n * 4, "scores");
  routing.ids = space(n * 4, "ids");
  routing.weights = space(n * 4, "weights");
  routing.counts = space(chunks * rule.n_experts * 4, "counts");
  routing.offsets = space((rule.n_experts + 1) * 4, "offsets");
  routing.sorted = space(n * 4, "sorted");
  routing.slot_of = space(n * 4, "slots");
  routing.tiles = space(n * TILE_HEIGHTS * 16, "tiles");
  routing.groups = space(TILE_HEIGHTS * 2 * DISPATCH_WORDS * 4, "groups");
  Tuning tuning = Tuning::of(device()->caps());
  Recording recording(*device(), "route");
  Recorder recorder{*device(), recording, tuning};
  route(recorder, rule, {upload(logits, "logits"), rule.n_experts}, upload(bias, "bias"), routing, {{{1, 2}, {3, 4}, {5, 6}}});
  recording.end();
  device()->wait(device()->submit({&recording}));
  Routed out;
  out.capacity = n;
  out.ids = download<uint32_t>(routing.ids, n);
  out.weights = download<float>(routing.weights, n);
  if (n_tokens > 1) {
    out.sorted = download<uint32_t>(routing.sorted, n);
    out.slot_of = download<uint32_t>(routing.slot_of, n);
    out.offsets = download<uint32_t>(routing.offsets, rule.n_experts + 1);
    out.tiles = download<uint32_t>(routing.tiles, n * TILE_HEIGHTS * 4);
    out.groups = download<uint32_t>(routing.groups, TILE_HEIGHTS * 2 * DISPATCH_WORDS);
  }
  return out;
}

// A plain stable counting sort of what was not dropped; every slot must be in exactly one tile.
void check_sort(const Routed& got, uint32_t n_experts) {
  std::vector<uint32_t> order;
  for (uint32_t a = 0; a < got.ids.size(); ++a) {
    if (got.ids[a] != NO_EXPERT) order.push_back(a);
    else CHECK(got.slot_of[a] == NO_EXPERT);
  }
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return got.ids[a] < got.ids[b]; });
  CHECK(std::equal(order.begin(), order.end(), got.sorted.begin()));
  for (uint32_t slot = 0; slot < order.size(); ++slot) REQUIRE(got.slot_of[order[slot]] == slot);
  std::vector<uint32_t> covered(order.size(), 0), heights = {TILE_HEIGHT_0, TILE_HEIGHT_1, TILE_HEIGHT_2};
  for (uint32_t height = 0; height < TILE_HEIGHTS; ++height) {
    uint32_t count = got.groups[height * 2 * DISPATCH_WORDS];
    REQUIRE(count <= got.capacity);
    CHECK(got.groups[height * 2 * DISPATCH_WORDS + 1] == 1 + 2 * height);
    CHECK(got.groups[(height * 2 + 1) * DISPATCH_WORDS] == count);
    CHECK(got.groups[(height * 2 + 1) * DISPATCH_WORDS + 1] == 2 + 2 * height);
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t* tile = &got.tiles[(height * got.capacity + i) * 4];
      REQUIRE(tile[0] < n_experts);
      REQUIRE(tile[2] >= 1);
      REQUIRE(tile[2] <= heights[height]);
      for (uint32_t row = 0; row < tile[2]; ++row) {
        REQUIRE(tile[1] + row < order.size());
        CHECK(got.ids[order[tile[1] + row]] == tile[0]);
        ++covered[tile[1] + row];
      }
    }
  }
  CHECK(std::all_of(covered.begin(), covered.end(), [](uint32_t n) { return n == 1; }));
  CHECK(got.offsets[n_experts] == order.size());
}

void check_gate(const GateRule& rule, const std::vector<float>& logits, const std::vector<float>& bias, uint32_t n_tokens) {
  Routed got = run_route(rule, logits, bias, n_tokens);
  std::vector<std::vector<float>> rows;
  for (uint32_t t = 0; t < n_tokens; ++t)
    rows.emplace_back(logits.begin() + t * rule.n_experts, logits.begin() + (t + 1) * rule.n_experts);
  std::vector<ref::Choice> all = ref::route(rule, rows, bias);
  for (uint32_t t = 0; t < n_tokens; ++t) {
    const ref::Choice& want = all[t];
    for (uint32_t j = 0; j < rule.top_k; ++j) {
      CAPTURE(t);
      CAPTURE(j);
      CHECK(got.ids[t * rule.top_k + j] == want.experts[j]);
      // exp of |x| <= 16 in numerator and denominator, 3 + 2|x| units in the last place each; sums; three divisions of
      // 2.5 (Vulkan, "Precision and Operation of SPIR-V Instructions").
      float bound = 0x1p-23f * (2 * (3 + 2 * 16) + rule.n_experts + rule.top_k + 8) * std::abs(want.weights[j]);
      CHECK(std::abs(got.weights[t * rule.top_k + j] - want.weights[j]) <= bound);
    }
  }
  if (n_tokens > 1) check_sort(got, rule.n_experts);
}

// Distinct multiples of 1/64 in [-8, 8): no two scores closer than their rounding, unless `ties`.
std::vector<float> spread_logits(uint32_t n_tokens, uint32_t n_experts, uint32_t seed, bool ties) {
  std::mt19937 random(seed);
  std::vector<float> all;
  for (uint32_t t = 0; t < n_tokens; ++t) {
    std::vector<float> row(n_experts);
    for (uint32_t e = 0; e < n_experts; ++e) row[e] = ties ? float(random() % 3) : float(e % 1024) / 64 - 8;
    std::shuffle(row.begin(), row.end(), random);
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

}  // namespace

TEST_CASE("gate, sort and tiles: every rule, with and without ties") {
  struct Shape {
    uint32_t experts, top_k, tokens;
  };
  for (Shape s : {Shape{8, 2, 1}, {8, 2, 70}, {16, 1, 3}, {60, 4, 33}, {128, 8, 40}, {1, 1, 5}, {1024, 64, 3}, {64, 6, 300}}) {
    for (uint32_t score : {SCORE_SOFTMAX, SCORE_SIGMOID, SCORE_SQRT_SOFTPLUS, SCORE_LOGIT}) {
      for (bool ties : {false, true}) {
        if (s.tokens > 100 && (score != SCORE_SOFTMAX)) continue;
        CAPTURE(s.experts);
        CAPTURE(s.tokens);
        CAPTURE(score);
        CAPTURE(ties);
        GateRule rule = {s.experts, s.top_k, score, 0, 0, 0, 0, WEIGHT_SCORE, score != SCORE_LOGIT, 0, -INFINITY, 1.5f};
        if (score == SCORE_LOGIT) rule.weight = WEIGHT_SOFTMAX;
        check_gate(rule, spread_logits(s.tokens, s.experts, s.experts + s.tokens, ties), {}, s.tokens);
      }
    }
  }
  check_no_validation_messages();
}

TEST_CASE("gate: groups and selection bias") {
  for (uint32_t group_score : {GROUP_MAX, GROUP_SUM2}) {
    GateRule rule = {64, 6, SCORE_SIGMOID, 1, 8, 3, group_score, WEIGHT_SCORE, 1, 1e-20f, -INFINITY, 2.5f};
    std::vector<float> bias(64);
    for (uint32_t e = 0; e < 64; ++e) bias[e] = float(e * 37 % 64) / 16;  // decides, and by steps above rounding
    std::vector<float> logits = spread_logits(40, 64, 9, false);
    check_gate(rule, logits, bias, 40);
  }
  check_no_validation_messages();
}

TEST_CASE("gate: experts chosen by logit, weighted by its sigmoid, which is 1 for many") {
  std::vector<float> logits = spread_logits(40, 16, 5, false), large = logits;
  for (float& v : large) v += 30;
  GateRule rule = {16, 3, SCORE_LOGIT, 0, 0, 0, 0, WEIGHT_SIGMOID, 0, 0, -INFINITY, 1};
  check_gate(rule, logits, {}, 40);
  check_gate(rule, large, {}, 40);
  rule.n_experts = 3;
  rule.top_k = 2;
  ref::Choice choice = ref::gate(rule, {40, -1, 41}, {});
  CHECK(choice.experts == std::vector<uint32_t>{2, 0});
  CHECK(choice.weights == std::vector<float>{1, 1});
}

TEST_CASE("gate: weights over a norm of another power, and sparsemixer") {
  std::vector<float> logits = spread_logits(40, 16, 3, false), close = logits;
  for (float& v : close) v = 8 + v / 64;  // all but a few are near to the best
  for (float power : {1.0f, 2.0f, 3.5f}) {
    GateRule rule = {16, 4, SCORE_SOFTMAX, 0, 0, 0, 0, WEIGHT_SCORE, 1, 0, -INFINITY, 1};
    rule.norm_power = power;
    check_gate(rule, close, {}, 40);
    ref::Choice choice = ref::gate(rule, {close.begin(), close.begin() + 16}, {});
    double norm = 0;
    for (float w : choice.weights) norm += std::pow(double(w), power);
    CHECK(norm == doctest::Approx(1));
  }
  for (const std::vector<float>& z : {logits, close}) {
    GateRule rule = {16, 2, SCORE_LOGIT, 0, 0, 0, 0, WEIGHT_SPARSEMIXER, 0, 0, -INFINITY, 1};
    rule.near = 0.02f;
    check_gate(rule, z, {}, 40);
  }
  // By hand: 2 and 1.99 are near (within 2% of 2), 1.9 is not; then 1.99 is alone. A tie shares the first weight.
  GateRule rule = {4, 2, SCORE_LOGIT, 0, 0, 0, 0, WEIGHT_SPARSEMIXER, 0, 0, -INFINITY, 1};
  rule.near = 0.02f;
  ref::Choice choice = ref::gate(rule, {1.9f, 2.0f, 1.99f, -5}, {});
  CHECK(choice.experts == std::vector<uint32_t>{1, 2});
  CHECK(choice.weights[0] == doctest::Approx(1 / (1 + std::exp(-0.01))));
  CHECK(choice.weights[1] == doctest::Approx(1));
  choice = ref::gate(rule, {-1, 3, 3, 2}, {});
  CHECK(choice.experts == std::vector<uint32_t>{1, 2});
  CHECK(choice.weights[0] == doctest::Approx(0.5));
  CHECK(choice.weights[1] == doctest::Approx(1));
  check_no_validation_messages();
}

TEST_CASE("gate: NaN and infinity choose valid, distinct experts") {
  float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  std::vector<float> logits = {nan, nan, nan, nan, nan, nan, nan, nan, inf, 1, nan, -inf, 2, inf, -inf, 3,
                               -inf, -inf, -inf, -inf, -inf, -inf, -inf, -inf, 1, nan, 0, 0, 0, 0, 0, 0};
  for (uint32_t score : {SCORE_SOFTMAX, SCORE_LOGIT}) {
    GateRule rule = {8, 3, score, 0, 0, 0, 0, WEIGHT_SCORE, 1, 0, -INFINITY, 1};
    Routed got = run_route(rule, logits, {}, 4);
    for (uint32_t t = 0; t < 4; ++t) {
      std::vector<uint32_t> ids(got.ids.begin() + t * 3, got.ids.begin() + t * 3 + 3);
      std::sort(ids.begin(), ids.end());
      CHECK(ids[2] < 8);
      CHECK(std::adjacent_find(ids.begin(), ids.end()) == ids.end());
    }
    if (score == SCORE_LOGIT) CHECK(std::vector<uint32_t>(got.ids.begin() + 3, got.ids.begin() + 6) == std::vector<uint32_t>{0, 5, 7});
  }
}

TEST_CASE("capacity: what finds no room in its expert is dropped, in either order, with weights divided before or after") {
  struct Shape {
    uint32_t experts, top_k, tokens, capacity;
  };
  for (Shape s : {Shape{8, 1, 48, 4}, {8, 2, 48, 6}, {8, 2, 1, 1}, {128, 2, 150, 3}, {4, 3, 40, 20}, {8, 2, 20, 1000}}) {
    std::vector<float> logits = spread_logits(s.tokens, s.experts, s.tokens, false);
    std::mt19937 random(1);
    for (uint32_t t = 0; t < s.tokens; ++t) {  // favourites overflow; no two tokens' best scores are near each other
      float* row = &logits[t * s.experts];
      row[random() % 3] = 1 + float(t * 37 % s.tokens) / 64;
    }
    for (uint32_t drop : {DROP_LATER, DROP_UNLIKELY}) {
      for (uint32_t renormalize : {RENORMALIZE_NONE, RENORMALIZE_ALL, RENORMALIZE_KEPT}) {
        CAPTURE(s.tokens);
        CAPTURE(drop);
        CAPTURE(renormalize);
        GateRule rule = softmax_top_k(s.experts, s.top_k, false);
        rule.renormalize = renormalize;
        rule.denominator_min = 0x1p-23f;
        rule.scale = 0.75f;
        rule.drop = drop;
        rule.capacity = s.capacity;
        rule.expert_of_rank = renormalize == RENORMALIZE_KEPT && s.top_k == 2;
        check_gate(rule, logits, {}, s.tokens);
      }
    }
  }
  check_no_validation_messages();
}

TEST_CASE("capacity: known answers of six tokens") {
  // Probabilities of the favourite rise from token 0 to 5; all want expert 0 first and expert 1 second.
  std::vector<std::vector<float>> logits;
  for (uint32_t t = 0; t < 6; ++t) logits.push_back({2 + float(t) / 4, 1, 0});
  GateRule rule = softmax_top_k(3, 2, false);
  rule.renormalize = RENORMALIZE_KEPT;
  rule.capacity = 2;
  auto experts = [&](uint32_t drop) {
    rule.drop = drop;
    std::vector<uint32_t> first;
    for (const ref::Choice& choice : ref::route(rule, logits, {})) first.push_back(choice.experts[0]);
    return first;
  };
  CHECK(experts(DROP_LATER) == std::vector<uint32_t>{0, 0, NO_EXPERT, NO_EXPERT, NO_EXPERT, NO_EXPERT});
  CHECK(experts(DROP_UNLIKELY) == std::vector<uint32_t>{NO_EXPERT, NO_EXPERT, NO_EXPERT, NO_EXPERT, 0, 0});
  logits = {{1, 0, -9}, {0, 1, -9}, {0, 1, -9}};  // expert 1: both first choices come before the second choice of token 0
  rule.drop = DROP_LATER;
  std::vector<ref::Choice> all = ref::route(rule, logits, {});
  CHECK(all[0].experts == std::vector<uint32_t>{0, NO_EXPERT});
  CHECK(all[0].weights == std::vector<float>{1, 0});  // of the one that was kept
  CHECK(all[1].experts == std::vector<uint32_t>{1, 0});
  CHECK(all[2].experts == std::vector<uint32_t>{1, NO_EXPERT});
}
