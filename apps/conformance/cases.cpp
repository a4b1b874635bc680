#include "cases.h"

#include "base/numeric.h"

namespace vkmoe::conformance {

Cases all_cases() {
  Cases cases;
  for (auto add : {add_embed, add_add_positions, add_norms, add_rope_cache, add_latent_cache, add_attention, add_begin_step, add_gate,
                   add_router, add_capacity, add_sort, add_matmul, add_round_rows,
                   add_matmul_rounded, add_combine, add_moe_layer, add_sample, add_roofline})
    add(cases);
  return cases;
}

const std::vector<Lanes>& all_lanes() {
  static const std::vector<Lanes> lanes = {{4, false}, {8, true}, {16, false}, {32, false}, {64, true},
                                           {128, false}, {256, false}, {512, false}, {1024, false}};
  return lanes;
}

Tuning with_lanes(const Check& check, uint32_t lanes) {
  if (lanes > check.caps().max_invocations)
    throw Unsupported(cat("workgroups of ", lanes, " (the device allows ", check.caps().max_invocations, ")"));
  Tuning tuning = Tuning::of(check.caps());
  tuning.lanes = tuning.head_lanes = tuning.row_lanes = tuning.sample_lanes = lanes;
  return tuning;
}

void need_shuffles(const Check& check, uint32_t lanes) {
  if (!check.caps().subgroup_shuffle || check.caps().subgroup_size < lanes)
    throw Unsupported(cat("shuffles among ", lanes, " invocations of a subgroup"));
}

Routing routing_for(Check& check, uint32_t n_tokens, uint32_t top_k, uint32_t n_experts) {
  uint32_t n = n_tokens * top_k;
  Routing routing;
  routing.n_tokens = n_tokens;
  routing.top_k = top_k;
  routing.tile_capacity = n;
  routing.counts = check.output(ceil_div(n, SORT_CHUNK) * n_experts, "counts");
  routing.offsets = check.output(n_experts + 1, "offsets");
  routing.sorted = check.output(n, "sorted");
  routing.slot_of = check.output(n, "slot_of");
  routing.tiles = check.output(size_t(n) * TILE_HEIGHTS * 4, "tiles");
  routing.groups = check.output(TILE_HEIGHTS * 2 * DISPATCH_WORDS, "groups");
  return routing;
}

BufferView cached(Check& check, const std::vector<float>& values, const std::string& name, bool half) {
  if (!half) return check.input(values, name);
  std::vector<uint16_t> halves;
  for (float v : values) halves.push_back(float_to_half(v));
  return check.input(halves, name);
}

std::vector<float> read_cached(Check& check, const BufferView& view, size_t n, bool half) {
  if (!half) return check.read<float>(view, n);
  std::vector<float> values;
  for (uint16_t h : check.read<uint16_t>(view, n)) values.push_back(half_to_float(h));
  return values;
}

std::vector<float> as_cached(std::vector<float> values, bool half) {
  for (float& v : values) v = half ? half_to_float(float_to_half(v)) : v;
  return values;
}

std::vector<float> random_values(Check& check, size_t n, double magnitude) {
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(n);
  for (float& v : values) v = float(uniform(check.random) * magnitude);
  return values;
}

}  // namespace vkmoe::conformance
