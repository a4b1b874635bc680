#include <algorithm>

#include "base/numeric.h"
#include "moe/ops/ops.h"

namespace vkmoe {
namespace {

uint32_t lanes_of(const Recorder& r, uint32_t head_dim) {
  return head_dim > 256 ? r.tuning.lanes : std::min(r.tuning.lanes, 32u);
}

// (token, head) rows of one key-value head that a workgroup takes: as many as shared memory and an invocation's sums allow.
uint32_t queries_per_group(const Recorder& r, uint32_t rows, uint32_t head_dim) {
  constexpr uint32_t most_sums = 40;  // vec4s of values, twice
  uint32_t columns = uint32_t(ceil_div(head_dim / 4, lanes_of(r, head_dim))), row_bytes = (head_dim + KEY_BLOCK + 1) * 4;
  uint32_t queries = 8, most = std::min(most_sums / columns, uint32_t(r.device.caps().max_shared_bytes / row_bytes));
  while (queries > 1 && (queries / 2 >= rows || queries > most)) queries /= 2;
  return queries;
}

}  // namespace

void attention(Recorder& r, BufferView step, BufferView queries, const KvCache& cache, Rows y, BufferView partials,
               BufferView groups, BufferView sinks, BufferView position_bias, const AttentionParams& params) {
  uint32_t rows = params.n_tokens * (params.n_heads / params.n_kv_heads);
  uint32_t per_group = queries_per_group(r, rows, params.head_dim);
  bool split = params.n_tokens == 1 && (r.tuning.share_keys || params.capacity > r.tuning.most_walked_keys(params.head_dim));
  SpecConstants constants = {lanes_of(r, params.head_dim), params.head_dim, per_group, split, params.value_dim};
  const Kernel& kernel = r.device.kernel("attention", constants);
  std::vector<BufferView> bindings = {step, queries, cache.keys, cache.values, y.view, partials, sinks, position_bias};
  if (!split) {
    r.recording.dispatch(kernel, bindings, params, uint32_t(ceil_div(rows, per_group)), params.n_kv_heads);
    return;
  }
  r.recording.dispatch_indirect(kernel, bindings, &params, sizeof(params), groups);
  r.recording.dispatch(r.device.kernel("attention_merge", {std::min(r.tuning.lanes, 32u)}), {step, partials, y.view, sinks},
                       params, params.n_heads, params.n_tokens);
}

void begin_step(Recorder& r, BufferView step, BufferView groups, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim,
                const std::vector<KeySpan>& spans, bool advance) {
  uint32_t rows = n_heads / n_kv_heads;
  BeginStepParams p = {uint32_t(ceil_div(rows, queries_per_group(r, rows, head_dim))), n_kv_heads, advance,
                       uint32_t(spans.size()), {}};
  std::copy(spans.begin(), spans.end(), p.spans);
  r.recording.dispatch(r.device.kernel("begin_step"), {step, groups}, p, 1);
}

void rope_cache(Recorder& r, BufferView step, Rows qkv, BufferView norms, BufferView angles, BufferView queries,
                const KvCache& cache, const RopeParams& params) {
  r.recording.dispatch(r.device.kernel("rope_cache", {std::min(r.tuning.lanes, 32u)}),
                       {step, qkv.view, norms, angles, queries, cache.keys, cache.values}, params,
                       params.n_heads + 2 * params.n_kv_heads, params.n_tokens);
}

void latent_cache(Recorder& r, BufferView step, Rows latents, Rows q_heads, BufferView norm, BufferView angles,
                  BufferView queries, const KvCache& cache, const LatentParams& params) {
  r.recording.dispatch(r.device.kernel("latent_cache", {std::min(r.tuning.lanes, 32u)}),
                       {step, latents.view, q_heads.view, norm, angles, queries, cache.keys}, params, params.n_heads + 1,
                       params.n_tokens);
}

void add_positions(Recorder& r, BufferView step, BufferView tokens, BufferView table, Rows x, uint32_t n_tokens,
                   uint32_t width, uint32_t padding_id) {
  PositionParams p = {width, x.stride, padding_id};
  r.recording.dispatch(r.device.kernel("add_positions", {r.tuning.row_lanes}), {step, tokens, table, x.view}, p, n_tokens);
}

void rmsnorm(Recorder& r, Rows x, BufferView weight, Rows y, uint32_t n_rows, uint32_t x_first, uint32_t width,
             float epsilon, bool add) {
  NormParams p = {n_rows, x_first, width, x.stride, epsilon, add};
  r.recording.dispatch(r.device.kernel("rmsnorm", {r.tuning.row_lanes}), {x.view, weight, y.view}, p, n_rows);
}

void layernorm(Recorder& r, Rows x, BufferView weights, Rows y, uint32_t n_rows, uint32_t x_first, uint32_t width,
               float epsilon) {
  NormParams p = {n_rows, x_first, width, x.stride, epsilon, 0};
  r.recording.dispatch(r.device.kernel("layernorm", {r.tuning.row_lanes}), {x.view, weights, y.view}, p, n_rows);
}

void sample(Recorder& r, const SampleBuffers& b, uint32_t vocab) {
  r.recording.dispatch(r.device.kernel("sample", {r.tuning.sample_lanes}),
                       {b.rule, b.logits, b.adjusted, b.step, b.history, b.tokens, b.ring}, SampleParams{vocab}, 1);
}

}  // namespace vkmoe
