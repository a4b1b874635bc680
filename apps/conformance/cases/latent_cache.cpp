// latent_cache: latents of multi-head latent attention go to the cache, normed and with their rotary part turned; rotary
// parts of the queries go behind the absorbed ones, which are left alone.
#include <cmath>

#include "conformance/cases.h"

namespace vkmoe::conformance {
namespace {

void check_latent(Check& check, const Tuning& tuning, LatentParams p, uint32_t position) {
  p.latent_column = 5;
  p.epsilon = 1e-6f;
  p.capacity = position + p.n_tokens + 2;
  uint32_t width = p.latent_column + p.kv_rank + p.rotary_dim, pairs = p.rotary_dim / 2, dim = p.kv_rank + p.rotary_dim;
  std::vector<float> latents = random_values(check, size_t(p.n_tokens) * width), norm = random_values(check, p.kv_rank);
  std::vector<float> heads = random_values(check, size_t(p.n_tokens) * p.n_heads * p.q_head), angles;
  for (uint32_t at = 0; at < p.capacity; ++at)
    for (uint32_t i = 0; i < pairs; ++i) angles.insert(angles.end(), {float(std::cos(at + 0.3 * i)), float(std::sin(at + 0.3 * i))});
  Rows latent_rows = check.input_rows(latents, width, "latents"), head_rows = check.input_rows(heads, p.n_heads * p.q_head, "heads");
  p.latent_stride = latent_rows.stride;
  p.q_stride = head_rows.stride;
  std::vector<float> absorbed = random_values(check, size_t(p.n_tokens) * p.n_heads * dim);
  bool half = tuning.half_cache;
  std::vector<float> before = as_cached(random_values(check, size_t(dim) * p.capacity), half);
  BufferView step = check.input(std::vector<uint32_t>{position, position + p.n_tokens, 0, 0}, "step");
  BufferView norms = check.input(norm, "norm"), table = check.input(angles, "angles");
  BufferView queries = check.input(absorbed, "queries"), keys = cached(check, before, "keys", half);
  check.run(tuning, [&](Recorder& r) { latent_cache(r, step, latent_rows, head_rows, norms, table, queries, {keys, keys, half}, p); });

  std::vector<double> want_q(absorbed.begin(), absorbed.end()), bound_q(absorbed.size(), 0.0), want_k(before.begin(), before.end());
  std::vector<double> bound_k(before.size(), 0.0);
  for (uint32_t t = 0; t < p.n_tokens; ++t) {
    uint32_t at = position + t;
    auto key = [&](uint32_t i) { return (size_t(i / 4) * p.capacity + at) * 4 + i % 4; };
    auto turn = [&](const float* from, auto place, std::vector<double>& want, std::vector<double>& bound) {
      for (uint32_t i = 0; i < pairs; ++i) {
        uint32_t first = p.interleaved ? 2 * i : i, second = p.interleaved ? 2 * i + 1 : i + pairs;
        double c = angles[(at * pairs + i) * 2], s = angles[(at * pairs + i) * 2 + 1], a = from[first], b = from[second];
        want[place(p.kv_rank + first)] = a * c - b * s;
        want[place(p.kv_rank + second)] = b * c + a * s;
        bound[place(p.kv_rank + first)] = bound[place(p.kv_rank + second)] = 3 * half_ulp * (std::abs(a) + std::abs(b));
      }
    };
    const float* latent = &latents[size_t(t) * width + p.latent_column];
    double squares = 0;
    for (uint32_t i = 0; i < p.kv_rank; ++i) squares += double(latent[i]) * latent[i];
    for (uint32_t i = 0; i < p.kv_rank; ++i) {
      want_k[key(i)] = latent[i] / std::sqrt(squares / p.kv_rank + p.epsilon) * norm[i];
      bound_k[key(i)] = std::abs(want_k[key(i)]) * half_ulp * (p.kv_rank / 2.0 + 16);  // as of rmsnorm
    }
    turn(latent + p.kv_rank, key, want_k, bound_k);
    for (uint32_t head = 0; head < p.n_heads; ++head) {
      const float* from = &heads[(size_t(t) * p.n_heads + head + 1) * p.q_head - p.rotary_dim];
      turn(from, [&](uint32_t i) { return (size_t(t) * p.n_heads + head) * dim + i; }, want_q, bound_q);
    }
  }
  check.close("queries", check.read<float>(queries, want_q.size()), want_q, bound_q);
  for (uint32_t i = 0; i < dim * p.n_tokens; ++i) {
    size_t at = (size_t(i % dim / 4) * p.capacity + position + i / dim) * 4 + i % 4;
    bound_k[at] += cached_error(std::abs(want_k[at]) + bound_k[at], half);
  }
  check.close("keys", read_cached(check, keys, want_k.size(), half), want_k, bound_k);
}

}  // namespace

void add_latent_cache(Cases& cases) {
  struct Shape {
    uint32_t n_tokens, position, n_heads, kv_rank, rotary_dim, q_head;
  };
  for (const Lanes& lanes : all_lanes()) {
    if (lanes.lanes > 64) continue;  // no device is given more
    for (const Shape& s : {Shape{3, 4, 2, 32, 16, 40}, {1, 0, 5, 36, 8, 8}, {2, 33, 1, 64, 32, 96}}) {
      for (uint32_t mode : {0u, 1u, 2u, 3u}) {
        uint32_t interleaved = mode & 1;
        bool half = mode & 2;
        LatentParams p = {};
        p.n_tokens = s.n_tokens;
        p.n_heads = s.n_heads;
        p.kv_rank = s.kv_rank;
        p.rotary_dim = s.rotary_dim;
        p.q_head = s.q_head;
        p.interleaved = interleaved;
        cases.push_back({"latent_cache", cat(interleaved ? "interleaved" : "halves", ",lanes=", lanes.lanes, half ? ",fp16-cache" : ""),
                         cat("tokens=", s.n_tokens, ",position=", s.position, ",heads=", s.n_heads, ",kv_rank=", s.kv_rank,
                             ",rotary_dim=", s.rotary_dim),
                         lanes.lanes == 8 || lanes.lanes == 64,
                         [=](Check& check) {
                           Tuning tuning = with_lanes(check, lanes.lanes);
                           tuning.half_cache = half;
                           check_latent(check, tuning, p, s.position);
                         }});
      }
    }
  }
}

}  // namespace vkmoe::conformance
