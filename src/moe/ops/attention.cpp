#include <algorithm>

#include "base/numeric.h"
#include "moe/ops/ops.h"

namespace vkmoe {
namespace {

// (token, head) rows of one key-value head that a workgroup takes.
uint32_t queries_per_group(const Caps& caps, uint32_t rows, uint32_t head_dim) {
  uint32_t queries = 8;
  while (queries > 1 && (queries / 2 >= rows || queries * (head_dim + KEY_BLOCK + 1) * 4 > caps.max_shared_bytes)) queries /= 2;
  return queries;
}

}  // namespace

void attention(Recorder& r, BufferView step, BufferView queries, const KvCache& cache, Rows y, BufferView partials,
               BufferView groups, const AttentionParams& params) {
  uint32_t rows = params.n_tokens * (params.n_heads / params.n_kv_heads);
  uint32_t per_group = queries_per_group(r.device.caps(), rows, params.head_dim);
  bool split = params.n_tokens == 1 && (r.tuning.share_keys || params.capacity > r.tuning.most_walked_keys(params.head_dim));
  const Kernel& kernel = r.device.kernel("attention", {std::min(r.tuning.lanes, 32u), params.head_dim, per_group, split});
  std::vector<BufferView> bindings = {step, queries, cache.keys, cache.values, y.view, partials};
  if (!split) {
    r.recording.dispatch(kernel, bindings, params, uint32_t(ceil_div(rows, per_group)), params.n_kv_heads);
    return;
  }
  r.recording.dispatch_indirect(kernel, bindings, &params, sizeof(params), groups);
  r.recording.dispatch(r.device.kernel("attention_merge", {std::min(r.tuning.lanes, 32u)}), {step, partials, y.view}, params,
                       params.n_heads, params.n_tokens);
}

void begin_step(Recorder& r, BufferView step, BufferView groups, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim,
                bool advance) {
  uint32_t rows = n_heads / n_kv_heads;
  BeginStepParams p = {uint32_t(ceil_div(rows, queries_per_group(r.device.caps(), rows, head_dim))), n_kv_heads, advance};
  r.recording.dispatch(r.device.kernel("begin_step"), {step, groups}, p, 1);
}

void rope_cache(Recorder& r, BufferView step, Rows qkv, BufferView norms, BufferView angles, BufferView biases,
                BufferView queries, const KvCache& cache, const RopeParams& params) {
  r.recording.dispatch(r.device.kernel("rope_cache", {std::min(r.tuning.lanes, 32u)}),
                       {step, qkv.view, norms, angles, queries, cache.keys, cache.values, biases}, params,
                       params.n_heads + 2 * params.n_kv_heads, params.n_tokens);
}

void rmsnorm(Recorder& r, Rows x, BufferView weight, Rows y, uint32_t n_rows, uint32_t x_first, uint32_t width,
             float epsilon, bool add) {
  NormParams p = {n_rows, x_first, width, x.stride, epsilon, add};
  r.recording.dispatch(r.device.kernel("rmsnorm", {r.tuning.lanes}), {x.view, weight, y.view}, p, n_rows);
}

void layernorm(Recorder& r, Rows x, BufferView weights, Rows y, uint32_t n_rows, uint32_t x_first, uint32_t width,
               float epsilon) {
  NormParams p = {n_rows, x_first, width, x.stride, epsilon, 0};
  r.recording.dispatch(r.device.kernel("layernorm", {r.tuning.lanes}), {x.view, weights, y.view}, p, n_rows);
}

void sample(Recorder& r, const SampleBuffers& b, uint32_t vocab) {
  r.recording.dispatch(r.device.kernel("sample", {r.tuning.sample_lanes}),
                       {b.rule, b.logits, b.adjusted, b.step, b.history, b.tokens, b.ring}, SampleParams{vocab}, 1);
}

}  // namespace vkmoe
