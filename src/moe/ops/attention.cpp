#include <algorithm>

#include "base/numeric.h"
#include "moe/ops/ops.h"

namespace vkmoe {
namespace {

uint32_t lanes_of(const Recorder& r, uint32_t head_dim) {
  return head_dim > 256 ? r.tuning.lanes : r.tuning.head_lanes;
}

// (token, head) rows of one key-value head that a workgroup takes: as many as shared memory and an invocation's sums allow.
uint32_t queries_per_group(const Recorder& r, uint32_t rows, uint32_t head_dim) {
  uint32_t columns = uint32_t(ceil_div(head_dim / 4, lanes_of(r, head_dim))), row_bytes = (head_dim + KEY_BLOCK + 1) * 4;
  uint32_t queries = 8, most = std::min(r.tuning.attention_sums / columns, uint32_t(r.device.caps().max_shared_bytes / row_bytes));
  while (queries > 1 && (queries / 2 >= rows || queries > most)) queries /= 2;
  return queries;
}

// Invocations of a workgroup that merges partial results: as many as own a column of one query each.
uint32_t split_lanes(const Recorder& r, uint32_t head_dim, uint32_t columns) {
  uint32_t lanes = lanes_of(r, head_dim);
  while (lanes < columns && lanes < r.tuning.row_lanes) lanes *= 2;
  return lanes;
}

// Whether attention_texels can be used: one vector of eight invocations, and a row of values has as many fours at least.
bool takes_texels(const Recorder& r, const KvCache& cache, uint32_t lanes, uint32_t value_dim) {
  uint64_t most = std::max(cache.keys.size, cache.values.size) / texel_bytes(Texels::float4);
  return r.tuning.texels && lanes == 8 && value_dim >= 4 * lanes && !cache.half && most <= r.device.caps().max_texels;
}

// Each key and value that any of the tokens sees is read once; with split, partial results of all blocks of keys are written
// and read.
WorkCount attention_work(const AttentionParams& p, uint32_t position, bool split, bool half) {
  uint64_t seen = 0, heads = uint64_t(p.n_tokens) * p.n_heads;
  for (uint32_t t = 0; t < p.n_tokens; ++t) {
    auto [first, end] = visible_keys(p.span, position + (p.all_keys ? 0 : t));
    seen += end - first;
  }
  uint32_t first = visible_keys(p.span, position).first, end = position + (p.all_keys ? 1 : p.n_tokens);
  uint32_t dims = p.head_dim + (p.value_dim < p.head_dim ? 0 : p.value_dim);
  uint64_t blocks = split ? (end - 1) / KEY_BLOCK - first / KEY_BLOCK + 1 : 0;
  uint64_t results = heads * (p.value_dim + 2 * blocks * (4 + p.value_dim));
  return {(half ? 2 : 4) * uint64_t(end - first) * p.n_kv_heads * dims + 4 * (heads * p.head_dim + results),
          2 * seen * p.n_heads * (p.head_dim + p.value_dim)};
}

// Of kernels that write keys of so many dimensions to the cache.
SpecConstants cache_constants(const Recorder& r, const KvCache& cache, uint32_t key_dim) {
  SpecConstants constants = {r.tuning.head_lanes};
  if (cache.half) constants.insert(constants.end(), {1u, key_dim});
  return constants;
}

// Of a kernel that reads and writes `values`, with so many operations for each.
WorkCount elementwise(uint64_t values, uint64_t flops_each, uint64_t bytes_each = 8) {
  return {values * bytes_each, values * flops_each};
}

}  // namespace

std::pair<uint32_t, uint32_t> visible_keys(const KeySpan& span, uint32_t at) {
  uint32_t first = span.window && at >= span.window ? at + 1 - span.window : 0;
  return {span.chunk ? std::max(first, at - at % span.chunk) : first, at + 1};
}

uint64_t attention_partials(uint32_t n_heads, uint32_t max_blocks, uint32_t value_dim) {
  return n_heads * (uint64_t(max_blocks) * (4 + value_dim) + 1);
}

void attention(Recorder& r, BufferView step, BufferView queries, const KvCache& cache, Rows y, BufferView partials,
               BufferView groups, BufferView sinks, BufferView position_bias, const AttentionParams& params) {
  uint32_t rows = params.n_tokens * (params.n_heads / params.n_kv_heads);
  uint32_t per_group = queries_per_group(r, rows, params.head_dim);
  bool split = params.n_tokens == 1 && (r.tuning.share_keys || params.capacity > r.tuning.most_walked_keys(params.head_dim));
  uint32_t lanes = split ? split_lanes(r, params.head_dim, per_group * params.value_dim / 4) : lanes_of(r, params.head_dim);
  SpecConstants constants = {lanes, params.head_dim, per_group, split, params.value_dim, r.tuning.attention_ahead};
  if (cache.half) constants.insert(constants.end(), {1u, r.tuning.exact_halves});
  std::vector<BufferView> bindings = {step, queries, cache.keys, cache.values, y.view, partials, sinks, position_bias};
  bool texels = takes_texels(r, cache, lanes, params.value_dim);
  for (uint32_t i = 1; texels && i < 4; ++i) bindings[i] = bindings[i].as(Texels::float4);
  const Kernel& kernel = r.device.kernel(texels ? "attention_texels" : "attention", constants);
  const uint32_t* position = r.recording.watch({step.buffer, step.offset, sizeof(Step)});
  r.recording.note([=, half = cache.half] { return attention_work(params, position[0], split, half); });
  if (!split) {
    r.recording.dispatch(kernel, bindings, params, uint32_t(ceil_div(rows, per_group)), params.n_kv_heads);
    return;
  }
  r.recording.dispatch_indirect(kernel, bindings, &params, sizeof(params), groups);
}

void begin_step(Recorder& r, BufferView step, BufferView groups, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim,
                const std::vector<KeySpan>& spans, bool advance) {
  uint32_t rows = n_heads / n_kv_heads;
  BeginStepParams p = {uint32_t(ceil_div(rows, queries_per_group(r, rows, head_dim))), n_kv_heads, advance,
                       uint32_t(spans.size()), {}};
  std::copy(spans.begin(), spans.end(), p.spans);
  r.recording.note({2 * sizeof(Step), 0});
  r.recording.dispatch(r.device.kernel("begin_step"), {step, groups}, p, 1);
}

void rope_cache(Recorder& r, BufferView step, Rows qkv, BufferView norms, BufferView angles, BufferView queries,
                const KvCache& cache, const RopeParams& params) {
  r.recording.note(elementwise(
      uint64_t(params.n_tokens) * (params.n_heads + 2 * params.n_kv_heads) * params.head_dim, params.norm ? 7 : 3));
  r.recording.dispatch(r.device.kernel("rope_cache", cache_constants(r, cache, params.head_dim)),
                       {step, qkv.view, norms, angles, queries, cache.keys, cache.values}, params,
                       params.n_heads + 2 * params.n_kv_heads, params.n_tokens);
}

void latent_cache(Recorder& r, BufferView step, Rows latents, Rows q_heads, BufferView norm, BufferView angles,
                  BufferView queries, const KvCache& cache, const LatentParams& params) {
  r.recording.note(elementwise(
      uint64_t(params.n_tokens) * (params.kv_rank + (params.n_heads + 1) * params.rotary_dim), 4));
  r.recording.dispatch(r.device.kernel("latent_cache", cache_constants(r, cache, params.kv_rank + params.rotary_dim)),
                       {step, latents.view, q_heads.view, norm, angles, queries, cache.keys}, params, params.n_heads + 1,
                       params.n_tokens);
}

void add_positions(Recorder& r, BufferView step, BufferView tokens, BufferView table, Rows x, uint32_t n_tokens,
                   uint32_t width, uint32_t padding_id) {
  PositionParams p = {width, x.stride, padding_id};
  r.recording.note(elementwise(uint64_t(n_tokens) * width, 1, 12));
  r.recording.dispatch(r.device.kernel("add_positions", {r.tuning.row_lanes}), {step, tokens, table, x.view}, p, n_tokens);
}

void rmsnorm(Recorder& r, Rows x, BufferView weight, Rows y, uint32_t n_rows, uint32_t x_first, uint32_t width,
             float epsilon, bool add) {
  NormParams p = {n_rows, x_first, width, x.stride, epsilon, add};
  r.recording.note(elementwise(uint64_t(n_rows) * width, 4, add ? 12 : 8));
  r.recording.dispatch(r.device.kernel("rmsnorm", {r.tuning.row_lanes}), {x.view, weight, y.view}, p, n_rows);
}

void layernorm(Recorder& r, Rows x, BufferView weights, Rows y, uint32_t n_rows, uint32_t x_first, uint32_t width,
               float epsilon) {
  NormParams p = {n_rows, x_first, width, x.stride, epsilon, 0};
  r.recording.note(elementwise(uint64_t(n_rows) * width, 7));
  r.recording.dispatch(r.device.kernel("layernorm", {r.tuning.row_lanes}), {x.view, weights, y.view}, p, n_rows);
}

void sample(Recorder& r, const SampleBuffers& b, uint32_t vocab) {
  r.recording.note({vocab * 8ull, 0});
  r.recording.dispatch(r.device.kernel("sample", {r.tuning.sample_lanes}),
                       {b.rule, b.logits, b.adjusted, b.step, b.history, b.tokens, b.ring}, SampleParams{vocab}, 1);
}

}  // namespace vkmoe
