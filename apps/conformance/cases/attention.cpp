// attention: softmax attention over the cache, whole or in parts that are merged: the same bits.
#include <algorithm>
#include <cmath>

#include "base/numeric.h"
#include "conformance/cases.h"

namespace vkmoe::conformance {
namespace {

struct Shape {
  uint32_t n_tokens, position, n_heads, n_kv_heads, head_dim, window;
  double magnitude;
  bool quick;
  float softcap = 0;
  uint32_t value_dim = 0;  // 0: head_dim; less: values are the first dimensions of the keys
  uint32_t chunk = 0, bias_distance = 0;
  bool sinks = false, all_keys = false;
  std::string name() const {
    return cat("tokens=", n_tokens, ",position=", position, ",heads=", n_heads, "x", n_kv_heads, ",head_dim=", head_dim,
               ",window=", window, ",magnitude=", magnitude, softcap > 0 ? cat(",softcap=", softcap) : "",
               value_dim ? cat(",value_dim=", value_dim) : "", chunk ? cat(",chunk=", chunk) : "",
               bias_distance ? cat(",bias=", bias_distance) : "", sinks ? ",sinks" : "", all_keys ? ",all_keys" : "");
  }
};

struct Inputs {
  AttentionParams p = {};
  std::vector<float> queries, keys, values;
  std::vector<float> sinks, bias;  // (n_heads) and (n_heads, 2 bias_distance + 1)
  uint32_t position;
};

Inputs make_inputs(Check& check, const Shape& s) {
  Inputs in;
  in.p.n_tokens = s.n_tokens;
  in.p.n_heads = s.n_heads;
  in.p.n_kv_heads = s.n_kv_heads;
  in.p.head_dim = s.head_dim;
  in.p.value_dim = s.value_dim ? s.value_dim : s.head_dim;
  in.p.capacity = s.position + s.n_tokens + 2;
  in.p.out_stride = row_stride(s.n_heads * in.p.value_dim);
  in.p.span = {s.window, s.chunk};
  in.p.has_sinks = s.sinks;
  in.p.all_keys = s.all_keys;
  in.p.bias_distance = s.bias_distance;
  in.p.max_blocks = uint32_t(ceil_div(in.p.capacity, KEY_BLOCK));
  in.p.scale = float(1 / std::sqrt(double(s.head_dim)));
  in.p.softcap = s.softcap;
  in.position = s.position;
  in.queries = random_values(check, size_t(s.n_tokens) * s.n_heads * s.head_dim, s.magnitude);
  in.keys = random_values(check, size_t(s.n_kv_heads) * s.head_dim * in.p.capacity, s.magnitude);
  in.values = random_values(check, in.keys.size(), s.magnitude);
  in.sinks = random_values(check, s.n_heads, 4 * s.magnitude);
  in.bias = random_values(check, size_t(s.n_heads) * (2 * s.bias_distance + 1), 4);
  // What lies in the cache beyond the last token is nobody's: it must not matter.
  for (uint32_t head = 0; head < s.n_kv_heads; ++head) {
    for (uint32_t i = 0; i < s.head_dim; ++i) {
      for (uint32_t at = s.position + (s.all_keys ? 1 : s.n_tokens); at < in.p.capacity; ++at) {
        in.keys[((size_t(head) * (s.head_dim / 4) + i / 4) * in.p.capacity + at) * 4 + i % 4] = 1e30f;
        in.values[(size_t(head) * in.p.capacity + at) * s.head_dim + i] = 1e30f;
      }
    }
  }
  return in;
}

// Outputs of n_tokens tokens from `first` on, as one pass.
std::vector<float> run_attention(Check& check, const Tuning& tuning, const Inputs& in, uint32_t first, uint32_t n_tokens) {
  AttentionParams p = in.p;
  p.n_tokens = n_tokens;
  uint32_t row = p.n_heads * p.head_dim, out_row = p.n_heads * p.value_dim, position = in.position + (p.all_keys ? 0 : first);
  BufferView step = check.input(std::vector<uint32_t>{position, position + n_tokens, 0, 0}, "step");
  BufferView queries = check.input(std::vector<float>(&in.queries[first * row], &in.queries[first * row] + n_tokens * row), "queries");
  bool half = tuning.half_cache;
  KvCache cache = {cached(check, in.keys, "keys", half), cached(check, in.values, "values", half), half};
  if (p.value_dim < p.head_dim) cache.values = cache.keys;
  Rows y = check.output_rows(n_tokens, out_row);
  std::vector<float> no_partials(attention_partials(p.n_heads, p.max_blocks, p.value_dim), NAN);
  std::fill(no_partials.end() - p.n_heads, no_partials.end(), 0.0f);  // the counters
  BufferView partials = check.input(no_partials, "partials");
  BufferView groups = check.output(4, "groups"), sinks = check.input(in.sinks, "sinks"), bias = check.input(in.bias, "bias");
  check.run(tuning, [&](Recorder& r) {
    begin_step(r, step, groups, p.n_heads, p.n_kv_heads, p.head_dim, {p.span}, false);
    attention(r, step, queries, cache, y, partials, groups, sinks, bias, p);
  });
  check.equal("counters of workgroups", check.read<uint32_t>(partials, p.n_heads, no_partials.size() - p.n_heads),
              std::vector<uint32_t>(p.n_heads));
  check.padding_untouched(y, n_tokens, out_row);
  return check.read_rows(y, n_tokens, out_row);
}

struct Values {
  std::vector<double> want, bound;
};

double key_at(const Inputs& in, uint32_t kv_head, uint32_t key, uint32_t i) {
  return in.keys[((size_t(kv_head) * (in.p.head_dim / 4) + i / 4) * in.p.capacity + key) * 4 + i % 4];
}

double value_at(const Inputs& in, uint32_t kv_head, uint32_t key, uint32_t i) {
  if (in.p.value_dim < in.p.head_dim) return key_at(in, kv_head, key, i);
  return in.values[(size_t(kv_head) * in.p.capacity + key) * in.p.head_dim + i];
}

void reference_head(const Inputs& in, uint32_t token, uint32_t head, Values& out) {
  const AttentionParams& p = in.p;
  uint32_t at = p.all_keys ? token : in.position + token, last = p.all_keys ? in.position : at;
  uint32_t first = p.span.window && last + 1 > p.span.window ? last + 1 - p.span.window : 0;
  if (p.span.chunk) first = std::max(first, last - last % p.span.chunk);
  uint32_t kv_head = head / (p.n_heads / p.n_kv_heads);
  const float* query = &in.queries[(size_t(token) * p.n_heads + head) * p.head_dim];
  std::vector<double> score, error;
  double maximum = -INFINITY, most = 0;
  for (uint32_t key = first; key <= last; ++key) {
    double dot = 0, norm = 0;
    for (uint32_t i = 0; i < p.head_dim; ++i) {
      double product = query[i] * key_at(in, kv_head, key, i);
      dot += product;
      norm += std::abs(product);
    }
    score.push_back(dot * p.scale);
    error.push_back(norm * p.scale * (p.head_dim + 2) * half_ulp);
    if (p.bias_distance) {
      int reach = int(p.bias_distance), distance = std::clamp(int(key) - int(at), -reach, reach);
      score.back() += in.bias[size_t(head) * (2 * reach + 1) + distance + reach];
      error.back() += std::abs(score.back()) * half_ulp;
    }
    if (p.softcap > 0) {  // tanh is nowhere steeper than 1; its own error is that of 1 - 2 / (exp(2 v) + 1)
      double v = score.back() / p.softcap, e = std::exp(2 * std::abs(v));
      score.back() = p.softcap * std::tanh(v);
      error.back() += p.softcap * (16 * half_ulp + exp_error(2 * v) * 2 * e / ((e + 1) * (e + 1)));
    }
    most = std::max(most, error.back());
    maximum = std::max(maximum, score.back());
  }
  if (p.has_sinks) maximum = std::max(maximum, double(in.sinks[head]));
  double mass = p.has_sinks ? std::exp(in.sinks[head] - maximum) : 0;
  double sink_wrong = p.has_sinks ? mass * (most + 2 * exp_error(in.sinks[head] - maximum)) : 0;
  for (double s : score) mass += std::exp(s - maximum);
  for (uint32_t i = 0; i < p.value_dim; ++i) {
    double sum = 0, norm = 0, wrong = 0, mass_wrong = sink_wrong / mass;
    for (uint32_t j = 0; j < score.size(); ++j) {
      double weight = std::exp(score[j] - maximum) / mass;
      double value = value_at(in, kv_head, first + j, i);
      // Of a weight: its score and the maximum, the exp of its block and of the merge; then sums of keys and of blocks.
      double relative = error[j] + most + 2 * exp_error(score[j] - maximum) + (score.size() + 8) * half_ulp;
      sum += weight * value;
      norm += weight * std::abs(value);
      wrong += weight * std::abs(value) * relative;
      mass_wrong += weight * relative;
    }
    out.want.push_back(sum);
    out.bound.push_back(wrong + norm * mass_wrong + 4 * half_ulp * norm);
  }
}

void check_attention(Check& check, const Tuning& tuning, const Shape& s) {
  Inputs in = make_inputs(check, s);
  in.keys = as_cached(in.keys, tuning.half_cache);
  in.values = as_cached(in.values, tuning.half_cache);
  std::vector<float> got = run_attention(check, tuning, in, 0, s.n_tokens);
  Values v;
  for (uint32_t token = 0; token < s.n_tokens; ++token)
    for (uint32_t head = 0; head < s.n_heads; ++head) reference_head(in, token, head, v);
  check.close("y", got, v.want, v.bound);
  if (tuning.texels) {
    Tuning other = tuning;
    other.texels = false;
    check.equal("y without texels", run_attention(check, other, in, 0, s.n_tokens), got);
  }
  uint32_t row = s.n_heads * in.p.value_dim;
  if (s.all_keys && s.bias_distance) return;  // the bias goes by the row, which is 0 for a token alone
  for (bool share : {false, true}) {  // the last token alone, its keys in one workgroup and shared out
    Tuning alone = tuning;
    alone.share_keys = share;
    std::vector<float> last = run_attention(check, alone, in, s.n_tokens - 1, 1);
    check.equal(share ? "last token alone, keys shared" : "last token alone", last, {got.end() - row, got.end()});
  }
}

// The end of a cache of 128 MiB of keys and as much of values, the least that a device must be able to bind, through
// rope_cache and attention with a window: the bits of a small cache whose blocks of keys lie alike.
std::vector<float> run_at_end(Check& check, const Tuning& tuning, uint32_t capacity, const std::vector<float>& keys,
                              const std::vector<float>& values, const std::vector<float>& qkv, uint32_t n_tokens) {
  constexpr uint32_t d = 64, n_heads = 2;
  uint32_t filled = uint32_t(values.size() / d), position = capacity - 3 - n_tokens;
  Device& device = check.device();
  auto cache = [&](const char* name) { return device.create_buffer(uint64_t(capacity) * d * 4, MemoryUse::device, name); };
  Buffer key_cache = cache("keys"), value_cache = cache("values");
  for (uint64_t i = 0; i < d / 4; ++i)
    device.upload(key_cache, ((i + 1) * capacity - filled) * 16, &keys[i * filled * 4], filled * 16);
  device.upload(value_cache, uint64_t(capacity - filled) * d * 4, values.data(), values.size() * 4);
  RopeParams rope = {};
  AttentionParams p = {};
  Rows rows = check.input_rows(qkv, (n_heads + 2) * d, "qkv"), y = check.output_rows(n_tokens, n_heads * d);
  rope.n_tokens = p.n_tokens = n_tokens;
  rope.n_heads = p.n_heads = n_heads;
  rope.n_kv_heads = p.n_kv_heads = 1;
  rope.head_dim = p.head_dim = p.value_dim = d;
  rope.capacity = p.capacity = capacity;
  rope.qkv_stride = rows.stride;
  p.out_stride = y.stride;
  p.span = {40, 0};
  p.max_blocks = uint32_t(ceil_div(capacity, KEY_BLOCK));
  p.scale = 0.125f;
  BufferView step = check.input(std::vector<uint32_t>{position, position + n_tokens, 0, 0}, "step"), none = check.input(std::vector<float>(4), "none");
  BufferView queries = check.output(size_t(n_tokens) * n_heads * d, "queries"), groups = check.output(4, "groups");
  Buffer partials = place_vector(device, std::vector<float>(attention_partials(n_heads, p.max_blocks, d)), "partials");
  check.run(tuning, [&](Recorder& r) {
    begin_step(r, step, groups, n_heads, 1, d, {p.span}, false);
    rope_cache(r, step, rows, none, none, queries, {key_cache, value_cache}, rope);
    attention(r, step, queries, {key_cache, value_cache}, y, partials, groups, none, none, p);
  });
  return check.read_rows(y, n_tokens, n_heads * d);
}

void check_large_cache(Check& check, uint32_t n_tokens, bool share_keys) {
  constexpr uint32_t d = 64, filled = 96, large = (128 << 20) / (d * 4);
  std::vector<float> keys = random_values(check, filled * d), values = random_values(check, filled * d);
  std::vector<float> qkv = random_values(check, size_t(n_tokens) * 4 * d, 2);
  Tuning tuning = with_lanes(check, 8);
  tuning.share_keys = share_keys;
  check.equal("y", run_at_end(check, tuning, large, keys, values, qkv, n_tokens),
              run_at_end(check, tuning, 2 * filled, keys, values, qkv, n_tokens));
}

}  // namespace

void add_attention(Cases& cases) {
  // tokens, position, heads, kv_heads, head_dim, window, magnitude, quick
  std::vector<Shape> shapes = {{1, 0, 4, 2, 64, 0, 1, true},       {1, 31, 7, 1, 32, 0, 2, true},
                               {1, 32, 2, 2, 80, 0, 2, true},      {1, 200, 8, 1, 64, 0, 3, true},
                               {5, 30, 4, 2, 64, 0, 2, true},      {9, 0, 3, 3, 128, 0, 1, true},
                               {33, 20, 6, 2, 32, 0, 2, true},     {3, 100, 4, 1, 64, 40, 2, true},
                               {1, 96, 4, 1, 64, 33, 2, true},     {2, 70, 2, 1, 64, 1, 2, true},
                               {4, 40, 2, 1, 32, 0, 60, true},     {2, 40, 2, 1, 64, 0, 1e-20, true},
                               {2, 40, 2, 1, 64, 0, 4e-5, true},   // denormals of fp16
                               {5, 40, 4, 1, 48, 0, 2, true, 0, 32}, {1, 70, 8, 1, 288, 0, 1, true, 0, 256},
                               {5, 60, 4, 2, 64, 0, 6, true, 3}, {5, 40, 2, 1, 4, 0, 1.5, true, 1},
                                {1, 60, 2, 1, 64, 0, 0.1, true, 30},
                               {17, 300, 16, 2, 128, 0, 2, false}, {3, 50, 4, 4, 256, 0, 2, false},
                               {2, 600, 8, 8, 96, 128, 2, false},  {64, 0, 5, 1, 4, 7, 2, false}};
  const Shape plain = {6, 61, 4, 2, 64, 0, 2, true};
  auto with = [&](auto change) {
    Shape s = plain;
    change(s);
    shapes.push_back(s);
  };
  with([](Shape& s) { s.sinks = true; });
  with([](Shape& s) { s.sinks = true, s.window = 5; });
  with([](Shape& s) { s.sinks = true, s.magnitude = 40; });  // one of the two takes it all
  with([](Shape& s) { s.chunk = 24; });
  with([](Shape& s) { s.chunk = 66; });  // the last tokens begin a chunk
  with([](Shape& s) { s.chunk = 16, s.sinks = true, s.n_tokens = 1; });
  with([](Shape& s) { s.bias_distance = 9; });
  with([](Shape& s) { s.bias_distance = 100, s.n_tokens = 1; });
  with([](Shape& s) { s.bias_distance = 20, s.all_keys = true, s.position = 39, s.n_tokens = 40; });  // an encoder
  with([](Shape& s) { s.all_keys = true, s.position = 50; });  // a decoder over its encoder's output
  with([](Shape& s) { s.all_keys = true, s.position = 0, s.n_tokens = 2; });
  for (const Lanes& lanes : all_lanes()) {
    if (lanes.lanes > 512) continue;  // no device is given more
    for (const Shape& s : shapes) {
      uint32_t ahead = lanes.lanes > 32 ? 8 : 1;
      for (bool half : {false, true}) {
        bool few = half ? lanes.lanes == 32 : lanes.lanes == 8;  // all shapes
        cases.push_back({"attention", cat("lanes=", lanes.lanes, ahead > 1 ? ",ahead=8" : "", half ? ",fp16-cache" : ""), s.name(),
                         s.quick && (few || ((lanes.lanes == 32 || lanes.lanes == 128) && s.head_dim == 64)),
                         [=](Check& check) {
                           Tuning tuning = with_lanes(check, lanes.lanes);
                           tuning.texels = false;
                           tuning.attention_ahead = ahead;
                           tuning.half_cache = half;
                           check_attention(check, tuning, s);
                         }});
      }
    }
  }
  for (const Shape& s : shapes) {
    bool columns = (s.value_dim ? s.value_dim : s.head_dim) >= 32;
    if (columns) cases.push_back({"attention", "lanes=8,texels", s.name(), s.quick, [=](Check& check) {
      need_shuffles(check, 8);
      Tuning tuning = with_lanes(check, 8);
      tuning.texels = true;
      tuning.half_cache = false;
      check_attention(check, tuning, s);
    }});
    cases.push_back({"attention", "lanes=32,sums=4", s.name(), s.quick && s.head_dim == 64, [=](Check& check) {
      Tuning tuning = with_lanes(check, 32);
      tuning.attention_sums = 4;
      check_attention(check, tuning, s);
    }});
  }
  cases.push_back({"attention", "lanes=8", "cache=128MiB,tokens=2", true, [](Check& check) { check_large_cache(check, 2, false); }});
  cases.push_back({"attention", "lanes=8", "cache=128MiB,tokens=1,keys-shared", true, [](Check& check) { check_large_cache(check, 1, true); }});
}

}  // namespace vkmoe::conformance
