#include <algorithm>

#include "base/numeric.h"
#include "moe/ops/ops.h"

namespace vkmoe {
namespace {

uint64_t router_bytes(const Weight& weight) { return uint64_t(weight.n) * weight.k * 4; }

uint32_t gate_experts(uint32_t n_experts) {  // that there is shared memory for
  uint32_t experts = 16;
  while (experts < n_experts) experts *= 2;
  return experts;
}

}  // namespace

void choose_experts(Recorder& r, const GateRule& rule, Rows logits, BufferView bias, const Routing& routing) {
  if (rule.random_second && rule.drop != DROP_NONE)
    fail(VKMOE_ERROR_UNSUPPORTED, "a gate drops second experts by chance or by capacity, not both");
  GateParams gate = {rule, routing.n_tokens, logits.stride, routing.first_token, routing.n_shared, routing.gated_shared};
  BufferView tokens = routing.tokens.buffer ? routing.tokens : bias, table = routing.table.buffer ? routing.table : bias;
  uint32_t experts = gate_experts(rule.n_experts), gate_lanes = std::min(r.tuning.row_lanes, std::max(experts, 128u));
  if (experts > 256) gate_lanes = std::max(gate_lanes, 64u);  // work grows with the square
  r.recording.note({uint64_t(routing.n_tokens) * (rule.n_experts + routing.gated_shared + 2 * routing.uses()) * 4, 0});
  r.recording.dispatch(r.device.kernel("gate", {gate_lanes, experts}), {logits.view, bias, routing.ids, routing.weights, tokens, table},
                       gate, routing.n_tokens);
}

void limit_to_capacity(Recorder& r, const GateRule& rule, const Routing& routing) {
  uint64_t ranks = rule.drop == DROP_UNCHOSEN ? 2 * rule.top_k : rule.top_k + 1;  // twice as many as are looked at
  uint64_t iterations = uint64_t(routing.n_tokens) * rule.top_k * ranks / 2;
  if (iterations > r.tuning.most_iterations)
    fail(VKMOE_ERROR_UNSUPPORTED, "a pass of ", routing.n_tokens, " tokens is too long for experts with a capacity on ",
         r.device.caps().name, ": expected at most ", uint64_t(r.tuning.most_iterations) * routing.n_tokens / iterations);
  GateParams p = {rule, routing.n_tokens, 0};
  r.recording.note({uint64_t(routing.n_tokens) * rule.top_k * 4 * 4, 0});
  r.recording.dispatch(r.device.kernel("expert_capacity", {r.tuning.lanes}),
                       {routing.chosen, routing.scores, routing.ids, routing.weights}, p,
                       uint32_t(ceil_div(routing.n_tokens, r.tuning.lanes)));
}

void route(Recorder& r, const GateRule& rule, Rows logits, BufferView bias, const Routing& routing,
           const MatmulGroups& groups) {
  if (routing.n_shared && (rule.drop != DROP_NONE || rule.choose == CHOOSE_TREE))
    fail(VKMOE_ERROR_UNSUPPORTED, "shared experts behind those of a gate with a capacity or a tree");
  if (rule.drop == DROP_NONE) {
    choose_experts(r, rule, logits, bias, routing);
  } else {
    GateRule score_rule = rule;
    score_rule.renormalize = RENORMALIZE_NONE;
    score_rule.scale = 1;
    Routing all = routing;
    all.ids = routing.chosen;
    all.weights = routing.scores;
    choose_experts(r, score_rule, logits, bias, all);
    limit_to_capacity(r, rule, routing);
  }
  sort_by_expert(r, rule.n_experts, routing, groups);
}

bool fuses_router(const Recorder& r, const GateRule& rule, const Weight& weight, uint32_t n_tokens) {
  bool one_bias = !(rule.has_bias && weight.biased);
  return weight.format->name == std::string("F32") && weight.k % 32 == 0 && weight.shards.size() == 1 && one_bias &&
         weight.n <= ROUTER_MAX_EXPERTS && rule.choose == CHOOSE_BEST && rule.drop == DROP_NONE && !rule.noise &&
         n_tokens * router_bytes(weight) <= r.tuning.fused_router_bytes;
}

void norm_and_choose(Recorder& r, const FusedRouter& call, const Routing& routing) {
  const auto& [rule, weight, x, normed, logits, norm, bias, epsilon] = call;
  uint32_t lanes = r.tuning.row_lanes;
  bool texels = r.tuning.texels && lanes % 8 == 0;
  RouterParams p = {rule, routing.n_tokens, logits.stride, routing.first_token, weight.k, x.stride, weight.tile_quads,
                    weight.biased, epsilon, routing.n_shared, routing.gated_shared};
  BufferView quads = weight.shards[0].tiles;
  std::vector<BufferView> bindings = {quads, x.view, norm, normed.view, logits.view, weight.bias ? weight.bias : bias,
                                      routing.ids, routing.weights};
  if (texels) {
    bindings[0] = quads.as(Texels::uint4);
    bindings.push_back(quads.as(Texels::uint1));
  }
  uint64_t n = routing.n_tokens, width = weight.k;
  r.recording.note({router_bytes(weight) + n * (2 * width + 2 * weight.n + 2 * routing.uses()) * 4, n * width * (4 + 2 * weight.n)});
  r.recording.dispatch(r.device.kernel(texels ? "router_texels" : "router", {lanes, gate_experts(weight.n)}), bindings, p,
                       routing.n_tokens);
}

void sort_by_expert(Recorder& r, uint32_t n_experts, const Routing& routing, const MatmulGroups& groups) {
  if (routing.direct()) return;
  SortParams sort = {};
  n_experts += routing.n_shared;
  sort.n_assignments = routing.n_tokens * routing.uses();
  sort.n_chunks = uint32_t(ceil_div(sort.n_assignments, SORT_CHUNK));
  sort.n_experts = n_experts;
  sort.tile_capacity = routing.tile_capacity;
  sort.whole_tile = r.tuning.whole_tile;
  sort.tall_from = r.tuning.staged_from();
  for (uint32_t i = 0; i < TILE_HEIGHTS * 2; ++i) sort.groups_y[i] = groups.rows[i / 2][i % 2];
  SpecConstants lanes = {r.tuning.lanes};
  uint64_t counts_bytes = uint64_t(sort.n_chunks) * n_experts * 4, assignment_bytes = sort.n_assignments * 4ull;
  r.recording.note({assignment_bytes + counts_bytes, 0});
  r.recording.dispatch(r.device.kernel("expert_histogram", lanes), {routing.ids, routing.counts}, sort, sort.n_chunks);
  r.recording.note({2 * counts_bytes, 0});
  r.recording.dispatch(r.device.kernel("expert_scan", lanes),
                       {routing.counts, routing.offsets, routing.tiles, routing.groups}, sort, 1);
  r.recording.note({3 * assignment_bytes + counts_bytes, 0});
  r.recording.dispatch(r.device.kernel("expert_scatter", lanes),
                       {routing.ids, routing.counts, routing.sorted, routing.slot_of}, sort, sort.n_chunks);
}

void combine(Recorder& r, Rows x, Rows y, uint32_t width, const Routing& routing, float scale, bool add, bool weighted,
             const CombinedNorm* norm) {
  CombineParams p = {};
  p.n_tokens = routing.n_tokens;
  p.top_k = routing.uses();
  p.width = width;
  p.stride4 = y.stride / 4;
  p.x_stride4 = x.stride / 4;
  p.direct = routing.direct();
  p.weighted = weighted;
  p.scale = scale;
  p.add = add;
  p.norm = norm != nullptr;
  p.epsilon = norm ? norm->epsilon : 0;
  uint64_t values = uint64_t(p.n_tokens) * width;
  r.recording.note({values * 4 * (p.top_k + 1 + add + p.norm), values * (2 * (p.top_k + 1) + 4 * p.norm)});
  r.recording.dispatch(r.device.kernel("combine", {r.tuning.row_lanes}),
                       {x.view, y.view, routing.weights, routing.slot_of, norm ? norm->weight : routing.weights,
                        norm ? norm->y.view : x.view}, p, routing.n_tokens);
}

}  // namespace vkmoe
