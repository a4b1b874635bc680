// rope_cache: biases, RMSNorm of queries and keys, rotary embedding, and where keys and values lie in the cache.
#include <algorithm>
#include <cmath>

#include "conformance/cases.h"

namespace vkmoe::conformance {
namespace {

struct Shape {
  uint32_t n_tokens, position, n_heads, n_kv_heads, head_dim, rotary_dim;
};

struct Values {
  std::vector<double> want, bound;
};

// Queries, then keys, then values of one token, after norm, rotation and temperature.
Values reference(const RopeParams& p, const float* qkv, const std::vector<float>& norms, const float* angles,
                 uint32_t position) {
  uint32_t d = p.head_dim, heads = p.n_heads + 2 * p.n_kv_heads, qk = (p.n_heads + p.n_kv_heads) * d;
  Values v;
  for (uint32_t i = 0; i < heads * d; ++i) {
    v.want.push_back(qkv[i]);
    v.bound.push_back(0);
  }
  auto normalize = [&](uint32_t first, uint32_t width, const float* weight, uint32_t from, uint32_t count) {
    double squares = 0;
    for (uint32_t i = first; i < first + width; ++i) squares += v.want[i] * v.want[i];
    double scale = 1 / std::sqrt(squares / width + p.epsilon);
    for (uint32_t i = from; i < from + count; ++i) {
      double factor = scale * weight[i - from];
      // As of rmsnorm, and once more what the sum inherits from the values.
      v.bound[i] = std::abs(factor) * (2 * v.bound[i] + std::abs(v.want[i]) * half_ulp * (width / 2.0 + 16));
      v.want[i] *= factor;
    }
  };
  auto clip = [&](uint32_t first, uint32_t count) {
    for (uint32_t i = first; p.clip > 0 && i < first + count; ++i) v.want[i] = std::clamp<double>(v.want[i], -p.clip, p.clip);
  };
  clip(qk, heads * d - qk);  // values
  if (p.norm == QK_NORM_FULL) {
    uint32_t q = p.n_heads * d, k = p.n_kv_heads * d;
    normalize(0, q, &norms[0], 0, q);
    normalize(q, k, &norms[q], q, k);
  }
  for (uint32_t head = 0; head * d < qk; ++head) {
    const float* weight = p.norm == QK_NORM_HEAD || p.norm == QK_NORM_AFTER_ROPE ? &norms[head < p.n_heads ? 0 : d] : nullptr;
    if (p.norm == QK_NORM_HEAD) normalize(head * d, d, weight, head * d, d);
    clip(head * d, d);
    for (uint32_t i = 0; i < p.rotary_dim / 2; ++i) {
      uint32_t a = head * d + (p.interleaved ? 2 * i : i);
      uint32_t b = head * d + (p.interleaved ? 2 * i + 1 : i + p.rotary_dim / 2);
      double c = angles[2 * i], s = angles[2 * i + 1], x = v.want[a], y = v.want[b];
      double inherited = v.bound[a] + v.bound[b];
      v.want[a] = x * c - y * s;
      v.want[b] = y * c + x * s;
      v.bound[a] = v.bound[b] = inherited + 3 * half_ulp * (std::abs(x) + std::abs(y));
    }
    if (p.norm == QK_NORM_AFTER_ROPE) normalize(head * d, d, weight, head * d, d);
  }
  if (p.temperature_floor) {
    double factor = 1 + p.temperature_scale * std::log(1.0 + (position + 1) / p.temperature_floor);
    for (uint32_t i = 0; i < p.n_heads * d; ++i) {
      // Vulkan's log: 2^-21 between 0.5 and 2, else 3 units in the last place; then three roundings.
      double of_log = p.temperature_scale * std::max(0x1p-21, 6 * half_ulp * std::abs(factor - 1) / p.temperature_scale);
      v.bound[i] = factor * v.bound[i] + std::abs(v.want[i]) * (of_log + 4 * half_ulp * factor);
      v.want[i] *= factor;
    }
  }
  return v;
}

void check_rope(Check& check, const Tuning& tuning, const Shape& s, RopeParams p) {
  p.n_tokens = s.n_tokens;
  p.n_heads = s.n_heads;
  p.n_kv_heads = s.n_kv_heads;
  p.head_dim = s.head_dim;
  p.rotary_dim = s.rotary_dim;
  p.epsilon = 1e-5f;
  p.capacity = s.position + s.n_tokens + 3;
  uint32_t width = (s.n_heads + 2 * s.n_kv_heads) * s.head_dim, pairs = s.rotary_dim / 2, d4 = s.head_dim / 4;
  std::vector<float> values = random_values(check, size_t(s.n_tokens) * width);
  if (tuning.half_cache) {  // values beyond fp16, to the largest of which they go, and among its denormals
    size_t first = (s.n_heads + s.n_kv_heads) * s.head_dim;
    values[first] = 1e6f, values[first + 1] = -70000, values[first + 2] = 3e-6f, values[first + 3] = -4.1e-5f;
  }
  std::vector<float> norms = random_values(check, (s.n_heads + s.n_kv_heads) * s.head_dim);
  std::vector<float> angles;
  for (uint32_t position = 0; position < p.capacity; ++position) {
    for (uint32_t i = 0; i < pairs; ++i) {
      double angle = position * std::pow(10000.0, -2.0 * i / s.rotary_dim);
      angles.insert(angles.end(), {float(std::cos(angle)), float(std::sin(angle))});
    }
  }
  angles.resize(std::max<size_t>(angles.size(), 2));
  Rows qkv = check.input_rows(values, width, "qkv");
  p.qkv_stride = qkv.stride;
  BufferView step = check.input(std::vector<uint32_t>{s.position, s.position + s.n_tokens, 0, 0}, "step");
  BufferView norm = check.input(norms, "norms"), table = check.input(angles, "angles");
  BufferView queries = check.output(size_t(s.n_tokens) * s.n_heads * s.head_dim, "queries");
  size_t cache_words = size_t(s.n_kv_heads) * s.head_dim * p.capacity;
  bool half = tuning.half_cache;
  std::vector<float> before = as_cached(random_values(check, cache_words), half);
  KvCache cache = {cached(check, before, "keys", half), cached(check, before, "values", half), half};
  check.run(tuning, [&](Recorder& r) { rope_cache(r, step, qkv, norm, table, queries, cache, p); });

  std::vector<double> want_queries, bound_queries, want_keys(before.begin(), before.end()), bound_keys(cache_words, 0.0);
  std::vector<double> want_values = want_keys, bound_values = bound_keys;
  for (uint32_t t = 0; t < s.n_tokens; ++t) {
    uint32_t position = s.position + t;
    Values v = reference(p, &values[size_t(t) * width], norms, &angles[size_t(position) * pairs * 2], position);
    uint32_t q = s.n_heads * s.head_dim, k = s.n_kv_heads * s.head_dim;
    want_queries.insert(want_queries.end(), v.want.begin(), v.want.begin() + q);
    bound_queries.insert(bound_queries.end(), v.bound.begin(), v.bound.begin() + q);
    for (uint32_t i = 0; i < k; ++i) {
      uint32_t head = i / s.head_dim, column = i % s.head_dim;
      size_t key = ((size_t(head) * d4 + column / 4) * p.capacity + position) * 4 + column % 4;
      size_t value = (size_t(head) * p.capacity + position) * s.head_dim + column;
      want_keys[key] = v.want[q + i];
      bound_keys[key] = v.bound[q + i] + cached_error(std::abs(want_keys[key]) + v.bound[q + i], half);
      want_values[value] = half ? std::clamp(v.want[q + k + i], -65504.0, 65504.0) : v.want[q + k + i];
      bound_values[value] = v.bound[q + k + i] + cached_error(want_values[value], half);
    }
  }
  check.close("queries", check.read<float>(queries, want_queries.size()), want_queries, bound_queries);
  check.close("keys", read_cached(check, cache.keys, cache_words, half), want_keys, bound_keys);
  check.close("values", read_cached(check, cache.values, cache_words, half), want_values, bound_values);
}

}  // namespace

void add_rope_cache(Cases& cases) {
  const std::vector<Shape> shapes = {{3, 5, 4, 2, 32, 32}, {1, 0, 2, 1, 64, 16}, {2, 31, 3, 3, 80, 80}, {1, 7, 1, 1, 4, 0}};
  const char* norms[] = {"no-norm", "head-norm", "full-norm", "norm-after"};
  for (const Lanes& lanes : all_lanes()) {
    if (lanes.lanes > 64) continue;  // no device is given more
    for (uint32_t norm : {QK_NORM_NONE, QK_NORM_HEAD, QK_NORM_FULL, QK_NORM_AFTER_ROPE}) {
      for (uint32_t mode = 0; mode < 8; ++mode) {
        RopeParams p = {};
        p.interleaved = mode & 1;
        if (mode & 2) p.temperature_floor = 4, p.temperature_scale = 0.1f;
        p.clip = mode & 4 ? 0.5f : 0.0f;
        p.norm = norm;
        for (const Shape& s : shapes) for (bool half : {false, true}) {
          cases.push_back({"rope_cache", cat(norms[norm], mode & 1 ? ",interleaved" : ",halves", mode & 2 ? ",temperature" : "", mode & 4 ? ",clip" : "",
                                             ",lanes=", lanes.lanes, half ? ",fp16-cache" : ""),
                           cat("tokens=", s.n_tokens, ",position=", s.position, ",heads=", s.n_heads, "x", s.n_kv_heads,
                               ",head_dim=", s.head_dim, ",rotary_dim=", s.rotary_dim),
                           mode != 5 && mode != 6 && (!half || mode < 2 || mode == 4) && (lanes.lanes == 8 || (lanes.lanes == 32 && s.n_tokens == 3)),
                           [=](Check& check) {
                             Tuning tuning = with_lanes(check, lanes.lanes);
                             tuning.half_cache = half;
                             check_rope(check, tuning, s, p);
                           }});
        }
      }
    }
  }
}

}  // namespace vkmoe::conformance
