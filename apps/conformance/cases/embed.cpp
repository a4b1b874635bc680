// embed: rows of the embedding table, exactly the values that the CPU decodes.
#include <algorithm>

#include "conformance/cases.h"
#include "conformance/weights.h"
#include "shared/matmul.h"

namespace vkmoe::conformance {
namespace {

struct Shape {
  uint32_t n_vocab, n_tokens;
  bool shards;
  float scale;
};

void check_embed(Check& check, const Tuning& tuning, const Format& format, const Shape& s) {
  uint32_t k = columns(format);
  RandomMatrix table(check, format, 1, s.n_vocab, k);
  Weight weight = place(check, table.matrix);
  if (s.shards) weight = cut(check, weight, 1);
  std::vector<uint32_t> tokens(s.n_tokens);
  std::vector<float> want;
  for (uint32_t i = 0; i < s.n_tokens; ++i) {
    tokens[i] = i == 0 ? s.n_vocab - 1 : i == 1 ? 0 : uint32_t(check.random() % s.n_vocab);
    for (uint32_t c = 0; c < k; ++c) want.push_back(s.scale * table.row(0, tokens[i])[c]);
  }
  BufferView ids = check.input(tokens, "tokens");
  Rows y = check.output_rows(s.n_tokens, k);
  check.run(tuning, [&](Recorder& r) { embed(r, weight, ids, y, s.n_tokens, s.scale); });
  check.equal("y", check.read_rows(y, s.n_tokens, k), want);
}

// The last and the first tile of a binding of 128 MiB, the least that a device must allow; what lies between is never read.
void check_large_binding(Check& check) {
  constexpr uint64_t binding_bytes = 128 << 20;
  const Format& f32 = *find_format("F32");
  RandomMatrix table(check, f32, 1, TILE_ROWS, 32);
  Weight weight = place(check, table.matrix);
  Device& device = check.device();
  std::vector<uint8_t> tile(size_t(weight.tile_quads) * 16);
  device.wait_idle();
  device.read_back(weight.shards[0].tiles, 0, tile.data(), tile.size());
  WeightShard& shard = weight.shards[0];
  shard.n_tiles = weight.expert_tiles = uint32_t(binding_bytes / tile.size());
  shard.tiles = device.create_buffer(binding_bytes, MemoryUse::device, "binding of 128 MiB");
  device.upload(shard.tiles, 0, tile.data(), tile.size());
  device.upload(shard.tiles, binding_bytes - tile.size(), tile.data(), tile.size());
  weight.n = shard.n_tiles * TILE_ROWS;
  std::vector<uint32_t> tokens = {weight.n - 1, weight.n - TILE_ROWS, 5, weight.n - 2};
  std::vector<float> want;
  for (uint32_t token : tokens) want.insert(want.end(), table.row(0, token % TILE_ROWS), table.row(0, token % TILE_ROWS) + 32);
  BufferView ids = check.input(tokens, "tokens");
  Rows y = check.output_rows(uint32_t(tokens.size()), 32);
  check.run(Tuning::of(check.caps()), [&](Recorder& r) { embed(r, weight, ids, y, uint32_t(tokens.size()), 1); });
  check.equal("y", check.read_rows(y, uint32_t(tokens.size()), 32), want);
}

// A shard that begins 12 GiB behind the start of its table, which is nowhere: rows that lie 2^32 bytes, or a row, before it
// or behind it are other shards'.
void check_far_shard(Check& check) {
  RandomMatrix table(check, *find_format("F32"), 1, 2 * TILE_ROWS, 32);
  Weight weight = place(check, table.matrix);
  uint32_t wrap = uint32_t((uint64_t(1) << 32) / (weight.tile_quads * 16));  // tiles
  uint32_t first = weight.shards[0].first_tile = 3 * wrap + 1;
  weight.expert_tiles = first + 2;
  weight.n = weight.expert_tiles * TILE_ROWS;
  uint32_t begin = first * TILE_ROWS, end = weight.n;
  std::vector<uint32_t> tokens = {begin, begin - 1, end - 1, begin - wrap * TILE_ROWS, begin + TILE_ROWS, 5, begin - 3 * wrap * TILE_ROWS, end};
  std::vector<float> want = random_values(check, tokens.size() * 32);
  Rows y = check.input_rows(want, 32, "y");
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] >= begin && tokens[i] < end) std::copy_n(table.row(0, tokens[i] - begin), 32, &want[i * 32]);
  BufferView ids = check.input(tokens, "tokens");
  check.run(Tuning::of(check.caps()), [&](Recorder& r) { embed(r, weight, ids, y, uint32_t(tokens.size()), 1); });
  check.equal("y", check.read_rows(y, uint32_t(tokens.size()), 32), want);
}

}  // namespace

void add_embed(Cases& cases) {
  auto add = [&](const Format& format, uint32_t lanes, bool quick, const Shape& s, bool halves_by_hand = false) {
    cases.push_back({"embed", cat(lower_name(format), ",lanes=", lanes, halves_by_hand ? ",halves=by-hand" : ""),
                     cat("vocab=", s.n_vocab, ",tokens=", s.n_tokens, ",scale=", s.scale, s.shards ? ",shards" : ""), quick,
                     [=, &format](Check& check) {
      Tuning tuning = with_lanes(check, lanes);
      if (halves_by_hand) tuning.exact_halves = 0;  // what a device does whose own conversion is not exact
      check_embed(check, tuning, format, s);
    }});
  };
  for (const Format* format : all_formats()) {
    for (const Lanes& lanes : all_lanes()) {
      add(*format, lanes.lanes, lanes.lanes == 8, {70, 35, true, 1});
      add(*format, lanes.lanes, false, {1, 1, false, 1});
    }
    add(*format, 8, true, {70, 35, true, 1}, true);
  }
  cases.push_back({"embed", "f32", "binding=128MiB", true, check_large_binding});
  cases.push_back({"embed", "f32", "shard-at=12GiB", true, check_far_shard});
  for (const Lanes& lanes : all_lanes()) {
    add(*find_format("F32"), lanes.lanes, lanes.quick, {33, 3, false, 0.5f});
    add(*find_format("Q8_0"), lanes.lanes, lanes.quick, {64, 9, false, 12});
  }
}

}  // namespace vkmoe::conformance
