// Gating, counting sort, tiles and combine on the device against the reference.
#include <algorithm>
#include <limits>
#include <numeric>

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

// A plain stable counting sort of what the gate chose; every slot must be in exactly one tile.
void check_sort(const Routed& got, uint32_t n_experts) {
  std::vector<uint32_t> order(got.ids.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return got.ids[a] < got.ids[b]; });
  CHECK(got.sorted == order);
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
  for (uint32_t t = 0; t < n_tokens; ++t) {
    std::vector<float> row(logits.begin() + t * rule.n_experts, logits.begin() + (t + 1) * rule.n_experts);
    ref::Choice want = ref::gate(rule, row, bias);
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
