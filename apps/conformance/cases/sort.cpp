// expert_histogram, expert_scan, expert_scatter: the stable counting sort of assignments by expert and its tile lists.
#include <algorithm>

#include "conformance/cases.h"

namespace vkmoe::conformance {
namespace {

// Which expert each token goes to.
struct Pattern {
  const char* name;
  std::function<uint32_t(Check&, uint32_t token, uint32_t n_experts)> expert;
};
const std::vector<Pattern>& patterns() {
  static const std::vector<Pattern> all = {
      {"random", [](Check& c, uint32_t, uint32_t n) { return uint32_t(c.random() % n); }},
      {"all-to-first", [](Check&, uint32_t, uint32_t) { return 0u; }},
      {"all-to-last", [](Check&, uint32_t, uint32_t n) { return n - 1; }},
      {"half-empty", [](Check& c, uint32_t, uint32_t n) { return uint32_t(c.random() % n) / 2 * 2; }},
      {"skewed", [](Check& c, uint32_t, uint32_t n) { return uint32_t(c.random() % 8 ? n / 2 : c.random() % n); }},
      {"falling", [](Check&, uint32_t t, uint32_t n) { return n - 1 - t % n; }},
  };
  return all;
}

struct Sorted {
  std::vector<uint32_t> ids, sorted, slot_of, offsets, tiles, groups;
};

// ids through route(): logits make the gate choose the experts wanted, in order. capacity 0: nothing is dropped.
Sorted run_sort(Check& check, const Tuning& tuning, const std::vector<uint32_t>& ids, uint32_t n_experts, uint32_t top_k,
                uint32_t capacity) {
  uint32_t n = uint32_t(ids.size()), n_tokens = n / top_k;
  std::vector<float> logits(size_t(n_tokens) * n_experts, 0.0f);
  for (uint32_t i = 0; i < n; ++i) logits[i / top_k * n_experts + ids[i]] = float(top_k - i % top_k);
  Routing routing = routing_for(check, n_tokens, top_k, n_experts);
  routing.chosen = check.output(n, "chosen");
  routing.scores = check.output(n, "scores");
  routing.ids = check.output(n, "ids");
  routing.weights = check.output(n, "weights");
  GateRule rule = {n_experts, top_k, SCORE_LOGIT, 0, 0, 0, 0, WEIGHT_SOFTMAX, 0, 0, 0, 1};
  rule.drop = capacity ? DROP_LATER : DROP_NONE;
  rule.capacity = capacity;
  Rows rows = {check.input(logits, "logits"), n_experts};
  BufferView bias = check.input(std::vector<float>(1), "bias");
  check.run(tuning, [&](Recorder& r) { route(r, rule, rows, bias, routing, {{{1, 2}, {3, 4}, {5, 6}, {7, 8}}}); });
  auto words = [&](const BufferView& view, size_t count) { return check.read<uint32_t>(view, count); };
  return {words(routing.ids, n), words(routing.sorted, n), words(routing.slot_of, n), words(routing.offsets, n_experts + 1),
          words(routing.tiles, size_t(n) * TILE_HEIGHTS * 4), words(routing.groups, TILE_HEIGHTS * 2 * DISPATCH_WORDS)};
}

// The tiles of each height, as the scan is to list them: experts in order; tiles of 32 while there are rows enough
// for one, whole tiles of 4 or 8, then one for the rest.
std::vector<uint32_t> wanted_tiles(const std::vector<uint32_t>& counts, const Tuning& tuning, uint32_t height) {
  std::vector<uint32_t> tiles;
  uint32_t slot = 0, tall_from = tuning.staged_from(), whole = tuning.whole_tile;
  for (uint32_t e = 0; e < counts.size(); ++e) {
    for (uint32_t left = counts[e]; left > 0;) {
      uint32_t rows = std::min(left, left >= tall_from ? TILE_HEIGHT_3 : whole);
      uint32_t fits = left >= tall_from ? 3 : rows == whole ? 2 : rows <= TILE_HEIGHT_0 ? 0 : rows <= TILE_HEIGHT_1 ? 1 : 2;
      if (fits == height) tiles.insert(tiles.end(), {e, slot, rows, 0});
      slot += rows;
      left -= rows;
    }
  }
  return tiles;
}

void check_sort(Check& check, const Tuning& tuning, std::vector<uint32_t> ids, uint32_t n_experts, uint32_t top_k,
                uint32_t capacity) {
  Sorted got = run_sort(check, tuning, ids, n_experts, top_k, capacity);
  uint32_t n = uint32_t(ids.size());
  std::vector<uint32_t> order, slot_of(n, NO_EXPERT), counts(n_experts, 0), offsets(n_experts + 1, 0);
  for (uint32_t rank = 0; rank < top_k; ++rank) {
    for (uint32_t a = rank; a < n; a += top_k) {
      if (capacity && counts[ids[a]] == capacity) ids[a] = NO_EXPERT;
      else ++counts[ids[a]];
    }
  }
  check.equal("ids", got.ids, ids);
  for (uint32_t a = 0; a < n; ++a)
    if (ids[a] != NO_EXPERT) order.push_back(a);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return ids[a] < ids[b]; });
  for (uint32_t slot = 0; slot < order.size(); ++slot) slot_of[order[slot]] = slot;
  for (uint32_t e = 0; e < n_experts; ++e) offsets[e + 1] = offsets[e] + counts[e];
  got.sorted.resize(order.size());
  check.equal("sorted", got.sorted, order);
  check.equal("slot_of", got.slot_of, slot_of);
  check.equal("offsets", got.offsets, offsets);
  for (uint32_t height = 0; height < TILE_HEIGHTS; ++height) {
    std::vector<uint32_t> tiles = wanted_tiles(counts, tuning, height);
    const uint32_t* found = &got.tiles[size_t(height) * n * 4];
    check.equal(cat("tiles of height ", height), std::vector<uint32_t>(found, found + tiles.size()), tiles);
    for (uint32_t use = 0; use < 2; ++use) {
      uint32_t at = (height * 2 + use) * DISPATCH_WORDS;
      check.equal(cat("groups of height ", height), std::vector<uint32_t>(&got.groups[at], &got.groups[at] + 3),
                  {uint32_t(tiles.size() / 4), 1 + 2 * height + use, 1});
    }
  }
}

}  // namespace

void add_sort(Cases& cases) {
  struct Shape {
    uint32_t experts, top_k, tokens;
    bool quick;
    uint32_t capacity = 0, tall_from = 0;
  };
  // Remainders of every tile height and of SORT_CHUNK; more experts than tokens; one expert.
  const std::vector<Shape> shapes = {{8, 1, 2, true}, {8, 2, 64, true}, {16, 1, 129, true}, {1, 1, 9, true}, {5, 1, 31, false},
                                     {128, 4, 100, true}, {1024, 1, 3, true}, {64, 6, 300, false}, {3, 1, 257, false},
                                     {1024, 8, 40, false}, {8, 2, 70, true, 5},
                                     {3, 1, 257, true, 0, 17}, {8, 2, 64, true, 0, 9}, {1, 1, 49, true, 0, 17},
                                     {1, 1, 48, true, 0, 17}, {64, 6, 300, false, 0, 32}, {8, 2, 190, false, 40, 2}};
  auto add = [&](const Lanes& lanes, uint32_t whole) {
    for (const Shape& s : shapes) {
      for (const Pattern& pattern : patterns()) {
        cases.push_back({"sort", cat("lanes=", lanes.lanes, whole == TILE_HEIGHT_2 ? "" : ",whole-tile=4"),
                         cat("experts=", s.experts, ",top_k=", s.top_k, ",tokens=", s.tokens, ",", pattern.name, s.capacity ? ",capacity" : "", s.tall_from ? cat(",tall-from=", s.tall_from) : ""),
                         s.quick && lanes.quick, [=, &pattern](Check& check) {
          std::vector<uint32_t> ids;
          for (uint32_t t = 0; t < s.tokens; ++t) {
            // Further choices of a token follow the first, by an odd step: distinct.
            uint32_t first = pattern.expert(check, t, s.experts);
            for (uint32_t j = 0; j < s.top_k; ++j) ids.push_back((first + 3 * j) % s.experts);
          }
          Tuning tuning = with_lanes(check, lanes.lanes);
          tuning.whole_tile = whole;
          tuning.staged = {s.tall_from ? 128u : 0u, 4, s.tall_from};
          check_sort(check, tuning, ids, s.experts, s.top_k, s.capacity);
        }});
      }
    }
  };
  for (const Lanes& lanes : all_lanes()) add(lanes, TILE_HEIGHT_2);
  add({64, true}, TILE_HEIGHT_1);
}

}  // namespace vkmoe::conformance
