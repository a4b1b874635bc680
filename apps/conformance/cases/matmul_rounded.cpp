// quantize_rows: rows of x as int8, within half a step. matmul_int8: y = W x for such rows, in every format of integers,
// where products are exact and only scales and sums in float32 round. half_rows, matmul_coopmat: the same with fp16.
#include <cmath>

#include "base/numeric.h"
#include "conformance/cases.h"
#include "conformance/weights.h"

namespace vkmoe::conformance {
namespace {

void need(const Check& check, Products products) {
  if (products == Products::int8 && !check.caps().integer_dot) throw Unsupported("integer dot products");
  if (products == Products::fp16 && !check.caps().cooperative_matrix.m)
    throw Unsupported("products of fp16 matrices, added in float32");
}

// Rows as round_rows() left them: (n, stride) values, which are scale * integer with a scale for 32 or scale * half with one
// for the row; scales (n, blocks) and sums (n, blocks, 3), or scales (n).
struct RoundedRows {
  uint32_t stride;
  std::vector<float> scales, sums;
  std::vector<double> parts, values;  // integers or halves; scaled
  const double* row(size_t r) const { return &values[r * stride]; }
};

RoundedRows read_rounded(const Check& check, Products products, const BufferView& view, uint32_t n, uint32_t k) {
  RoundedRows rows = {(k + 31) / 32 * 32, {}, {}, {}, {}};
  uint64_t row_bytes = rounded_rows_bytes(products, 1, k);
  std::vector<int8_t> bytes = check.read<int8_t>(view, n * row_bytes);
  auto floats = [&](size_t at, float* out, size_t count) { std::memcpy(out, &bytes[at], count * 4); };
  for (uint32_t r = 0; r < n; ++r) {
    size_t at = r * row_bytes;
    float scale[4];
    if (products == Products::fp16) {
      floats(at + rows.stride * 2, scale, 1);
      rows.scales.push_back(scale[0]);
    }
    for (uint32_t i = 0; i < rows.stride; ++i) {
      if (products == Products::fp16) {
        uint16_t half;
        std::memcpy(&half, &bytes[at + 2 * i], 2);
        rows.parts.push_back(half_to_float(half));
      } else {
        size_t block = at + i / 32 * INT8_QUADS * 16;
        rows.parts.push_back(bytes[block + i % 32]);
        floats(block + 32, scale, 4);
        if (i % 32 == 0) rows.scales.push_back(scale[0]);
        if (i % 32 == 0) rows.sums.insert(rows.sums.end(), scale + 1, scale + 4);
      }
      rows.values.push_back(scale[0] * rows.parts.back());
    }
  }
  return rows;
}

// Rows of a random magnitude each; some blocks are zero, and one value is what is given.
std::vector<float> odd_rows(Check& check, uint32_t n, uint32_t k, float odd) {
  std::vector<float> x = random_values(check, size_t(n) * k);
  for (size_t i = 0; i < x.size(); ++i) {
    int power = int(i / k * 7 % 60) - 30;
    x[i] = i / 32 % 5 == 3 ? 0 : std::ldexp(x[i], power);
  }
  x[x.size() / 2] = odd;
  return x;
}

void check_int8_rows(Check& check, uint32_t n, uint32_t k, float odd) {
  std::vector<float> x = odd_rows(check, n, k, odd);
  Rows in = check.input_rows(x, k);
  BufferView out = check.output(rounded_rows_bytes(Products::int8, n, k) / 4);
  check.run(Tuning::of(check.caps()), [&](Recorder& r) { round_rows(r, Products::int8, in, out, n, k); });
  RoundedRows got = read_rounded(check, Products::int8, out, n, k);
  std::vector<float> scales, values, sums;
  std::vector<double> want_scales, scale_bounds, want_values, value_bounds, want_sums, sum_bounds;
  uint32_t blocks = got.stride / 32;
  for (uint32_t row = 0; row < n; ++row) {
    for (uint32_t b = 0; b < blocks; ++b) {
      double most = 0;
      float scale = got.scales[row * blocks + b];
      int32_t parts[3] = {};
      bool finite = true;
      auto original = [&](uint32_t i) { return i < k ? x[size_t(row) * k + i] : 0; };
      for (uint32_t i = b * 32; i < b * 32 + 32; ++i) {
        finite = finite && std::isfinite(original(i));
        most = std::max(most, double(std::abs(original(i))));
      }
      for (uint32_t i = b * 32; i < b * 32 + 32; ++i) {
        int32_t q = int32_t(got.parts[size_t(row) * got.stride + i]);
        parts[i / 16 % 2] += q;
        if (!finite) continue;
        check.that(std::abs(q) <= 127, "integer ", i, " of row ", row, ": expected at most 127, found ", q);
        values.push_back(float(got.row(row)[i]));
        want_values.push_back(original(i));
        // Half a step, and what an inverse of 2.5 units in the last place moves a tie by.
        value_bounds.push_back(scale * (0.5 + 127 * 5 * 2 * half_ulp) + (most < 1e-34 ? most : 0));
      }
      if (!finite) {
        check.that(std::isnan(scale), "scale ", b, " of row ", row, ": expected NaN, found ", scale);
        continue;
      }
      parts[2] = parts[0] + parts[1];
      scales.push_back(scale);
      want_scales.push_back(most < 1e-34 ? scale : most / 127);
      scale_bounds.push_back(3 * half_ulp * most / 127);
      for (int s = 0; s < 3; ++s) {
        sums.push_back(got.sums[(row * blocks + b) * 3 + s]);
        want_sums.push_back(double(scale) * parts[s]);
        sum_bounds.push_back(half_ulp * std::abs(want_sums.back()));
      }
    }
  }
  check.close("scales", scales, want_scales, scale_bounds);
  check.close("values", values, want_values, value_bounds);
  check.close("sums", sums, want_sums, sum_bounds);
}

// Halves are exact: the scale is a power of two, and values are rounded to nearest, ties to even.
void check_half_rows(Check& check, uint32_t n, uint32_t k, float odd) {
  std::vector<float> x = odd_rows(check, n, k, odd);
  for (size_t i = 0; i < k; i += 3) x[i] = std::ldexp(x[i], -int(i % 48));  // the first row has halves that are denormal
  for (uint32_t row = 0; row < n; ++row) x[size_t(row) * k + row % 4] *= 8;  // the largest, in turn where a load has it
  x[k] = 1 + 0x1p-11f, x[k + 1] = 1 + 3 * 0x1p-11f;                         // ties of the second
  Rows in = check.input_rows(x, k);
  BufferView out = check.output(rounded_rows_bytes(Products::fp16, n, k) / 4);
  check.run(Tuning::of(check.caps()), [&](Recorder& r) { round_rows(r, Products::fp16, in, out, n, k); });
  RoundedRows got = read_rounded(check, Products::fp16, out, n, k);
  std::vector<float> want, halves(got.parts.begin(), got.parts.end());
  for (uint32_t row = 0; row < n; ++row) {
    double most = 0;
    bool finite = true;
    for (uint32_t i = 0; i < k; ++i) {
      most = std::max(most, double(std::abs(x[size_t(row) * k + i])));
      finite = finite && std::isfinite(x[size_t(row) * k + i]);
    }
    float scale = got.scales[row];
    float want_scale = !finite ? NAN : most == 0 ? 0 : std::ldexp(1.0f, std::ilogb(most) - 14);
    check.that(scale == want_scale || !finite, "scale of row ", row, ": expected ", want_scale, ", found ", scale);
    check.that(std::isnan(scale) != finite, "scale of row ", row, ": found ", scale);
    for (uint32_t i = 0; i < got.stride; ++i) {
      bool zero = !finite || most == 0 || i >= k;
      want.push_back(zero ? 0 : half_to_float(float_to_half(x[size_t(row) * k + i] / scale)));
    }
  }
  check.equal("halves", halves, want);
}

// W x of one row, with weights rounded to fp16, to either side (Vulkan promises no more) or, where they are denormal, to zero, and with
// what of x is below 2^-28 of the largest flushed, too. Products are exact; matrix units may round their sums towards zero.
Product fp16_product(const float* weights, const double* x, uint32_t k) {
  double sum = 0, norm = 0, rounded = 0, most = 0;
  for (uint32_t i = 0; i < k; ++i) most = std::max(most, std::abs(x[i]));
  for (uint32_t i = 0; i < k; ++i) {
    double w = std::abs(double(weights[i]));
    sum += weights[i] * x[i];
    norm += w * std::abs(x[i]);
    rounded += std::abs(x[i]) * (w < 0x1p-14 ? std::max(w, 0x1p-24) : w * 0x1p-10);
    if (std::abs(x[i]) < most * 0x1p-27) rounded += w * std::abs(x[i]);
  }
  return {sum, rounded + norm * (k + 8) * 2 * half_ulp * 1.001};
}

Product product_of(Products products, const float* weights, const RoundedRows& x, size_t row, uint32_t k) {
  return products == Products::int8 ? integer_product(weights, x.row(row), k) : fp16_product(weights, x.row(row), k);
}

// Weights that fp16 can say, and that matter in a sum.
Range range_of(Products products) { return products == Products::fp16 ? Range{1e-3f, 4096} : Range{}; }

// activation(gate) * up where that is RELU, which is no steeper than 1.
Product gated(Product g, Product u) {
  double a = std::max(g.value, 0.0), value = a * u.value;
  return {value, g.bound * (std::abs(u.value) + u.bound) + a * u.bound + half_ulp * std::abs(value)};
}

struct Job {
  uint32_t n, n_rows, x_first, lanes, lane_rows, epilogue;
  bool shards;
};

Tuning tuning_of(const Check& check, Products products, uint32_t lanes, uint32_t lane_rows) {
  Tuning tuning = Tuning::of(check.caps());
  tuning.staged = {lanes, lane_rows, 2};
  tuning.int8 = {lanes, lane_rows};
  tuning.products = products;
  return tuning;
}

std::vector<float> run(Check& check, Products products, const Weight& weight, Rows x, BufferView rounded_x, uint32_t k,
                       const Job& job, uint32_t n_rows) {
  Rows y = check.input_rows(std::vector<float>(size_t(n_rows) * job.n, 1.0f), job.n, "y");
  check.run(tuning_of(check, products, job.lanes, job.lane_rows), [&](Recorder& r) {
    check.that(products_of(r, weight, n_rows) == products, "no rounded products");
    round_rows(r, products, x, rounded_x, job.x_first + n_rows, k);
    matmul(r, {.weight = weight, .x = x, .y = y, .n_rows = n_rows, .x_first = job.x_first, .epilogue = job.epilogue,
               .scale = 0.5f, .rounded_x = rounded_x, .activation = {ACTIVATION_RELU, 0, 0}});
  });
  check.padding_untouched(y, n_rows, job.n);
  return check.read_rows(y, n_rows, job.n);
}

void check_rounded(Check& check, Products products, const Format& format, const Job& job) {
  need(check, products);
  uint32_t k = columns(format, true), rows = job.x_first + job.n_rows;
  bool paired = job.epilogue == EPILOGUE_GATED;
  RandomMatrix gate(check, format, 1, job.n, k, false, range_of(products));
  RandomMatrix up(check, format, 1, paired ? job.n : 1, k, false, range_of(products));
  Weight weight = place(check, gate.matrix, paired ? &up.matrix : nullptr);
  if (job.shards) weight = cut(check, weight, paired ? 2 : 1);
  Rows x = check.input_rows(random_values(check, size_t(rows) * k, 2), k);
  BufferView rounded_x = check.output(rounded_rows_bytes(products, rows, k) / 4, "rounded");
  std::vector<float> got = run(check, products, weight, x, rounded_x, k, job, job.n_rows);
  RoundedRows rounded = read_rounded(check, products, rounded_x, rows, k);
  std::vector<double> want, bound;
  for (uint32_t t = 0; t < job.n_rows; ++t) {
    for (uint32_t r = 0; r < job.n; ++r) {
      Product p = product_of(products, gate.row(0, r), rounded, job.x_first + t, k);
      if (paired) {
        p = gated(p, product_of(products, up.row(0, r), rounded, job.x_first + t, k));
      } else {
        double before = job.epilogue == EPILOGUE_ADD ? 1 : 0;
        p = {before + 0.5 * p.value, 0.5 * p.bound};
        p.bound += half_ulp * (before + std::abs(p.value));
      }
      want.push_back(p.value);
      bound.push_back(p.bound);
    }
  }
  check.close("y", got, want, bound);
  uint32_t fewer = job.n_rows - 1;  // a row's result does not hang on its neighbours
  std::vector<float> part = run(check, products, weight, x, rounded_x, k, job, fewer);
  check.equal("y of fewer rows", part, {got.begin(), got.begin() + size_t(fewer) * job.n});
}

// Experts of tokens, gate and up, in two shards; every expert has at least two tokens, and the last some tiles full of them.
void check_experts(Check& check, Products products, const Format& format, bool scaled_input) {
  need(check, products);
  uint32_t n_experts = 3, top_k = 2, n_tokens = 45, n = n_tokens * top_k, width = 40, k = columns(format, true);
  RandomMatrix gate(check, format, n_experts, width, k, false, range_of(products));
  RandomMatrix up(check, format, n_experts, width, k, false, range_of(products));
  Weight weight = cut(check, place(check, gate.matrix, &up.matrix), 6);
  std::vector<uint32_t> ids;
  for (uint32_t t = 0; t < n_tokens; ++t) ids.insert(ids.end(), {t % 4 ? 2u : 0u, t % 3 ? 1u : t % 4 ? 0u : 2u});
  Routing routing = routing_for(check, n_tokens, top_k, n_experts);
  routing.ids = check.input(ids, "ids");
  std::vector<float> weights = random_values(check, n);
  routing.weights = check.input(weights, "weights");
  Rows x = check.input_rows(random_values(check, size_t(n_tokens) * k, 2), k), y = check.output_rows(n, width);
  BufferView rounded_x = check.output(rounded_rows_bytes(products, n_tokens, k) / 4, "rounded");
  check.run(tuning_of(check, products, 128, 4), [&](Recorder& r) {
    sort_by_expert(r, n_experts, routing, matmul_groups(r, weight, weight));
    round_rows(r, products, x, rounded_x, n_tokens, k);
    expert_matmul(r, {.weight = weight, .x = x, .y = y, .routing = routing, .use = 0, .scaled_input = scaled_input,
                      .epilogue = EPILOGUE_GATED, .activation = {ACTIVATION_RELU, 0, 0}, .rounded_x = rounded_x});
  });
  check.padding_untouched(y, n, width);
  RoundedRows rounded = read_rounded(check, products, rounded_x, n_tokens, k);
  std::vector<float> got = check.read_rows(y, n, width);
  std::vector<uint32_t> slots = check.read<uint32_t>(routing.slot_of, n);
  std::vector<double> want(got.size()), bound(got.size());
  for (uint32_t i = 0; i < n; ++i) {
    check.that(slots[i] < n, "slot_of[", i, "]: found ", slots[i]);
    for (uint32_t r = 0; r < width; ++r) {
      Product parts[2] = {product_of(products, gate.row(ids[i], r), rounded, i / top_k, k),
                          product_of(products, up.row(ids[i], r), rounded, i / top_k, k)};
      for (Product& p : parts)
        if (scaled_input) p = {p.value * weights[i], (p.bound + half_ulp * std::abs(p.value)) * std::abs(weights[i])};
      Product p = gated(parts[0], parts[1]);
      want[slots[i] * width + r] = p.value;
      bound[slots[i] * width + r] = p.bound;
    }
  }
  check.close("y", got, want, bound);
}

}  // namespace

void add_round_rows(Cases& cases) {
  for (auto [kernel, body] : {std::pair("quantize_rows", &check_int8_rows), {"half_rows", &check_half_rows}}) {
    for (float odd : {1.5f, 3e38f, std::nanf(""), -INFINITY})
      for (uint32_t k : {32u, 360u, 1024u})
        cases.push_back({kernel, cat("k=", k), cat("rows=19,with=", odd), k == 360,
                         [=, body = body](Check& check) { body(check, 19, k, odd); }});
  }
}

void add_matmul_rounded(Cases& cases) {
  const Job jobs[] = {{70, 37, 2, 128, 4, EPILOGUE_STORE, true}, {40, 33, 0, 128, 4, EPILOGUE_GATED, true},
                      {64, 17, 0, 64, 8, EPILOGUE_ADD, false}, {33, 64, 1, 128, 8, EPILOGUE_STORE, false},
                      {100, 20, 0, 64, 4, EPILOGUE_GATED, false}};
  const char* epilogues[] = {"", ",add", ",gated"};
  for (auto [products, kernel] : {std::pair(Products::int8, "matmul_int8"), {Products::fp16, "matmul_coopmat"}}) {
    for (const Format* format : all_formats()) {
      if (!find_kernel(cat(kernel, "_", lower_name(*format)))) continue;
      bool q4_k = format->name == std::string("Q4_K");
      for (const Job& job : jobs) {
        cases.push_back({kernel, cat(lower_name(*format), ",lanes=", job.lanes, ",rows=", job.lane_rows),
                         cat("n=", job.n, ",tokens=", job.n_rows, ",first=", job.x_first, epilogues[job.epilogue],
                             job.shards ? ",shards" : ""),
                         &job == &jobs[0] || (&job == &jobs[1] && q4_k),
                         [=, products = products](Check& check) { check_rounded(check, products, *format, job); }});
      }
      for (bool scaled_input : {false, true}) {
        cases.push_back({kernel, cat(lower_name(*format), ",lanes=128,rows=4"),
                         cat("experts=3,top_k=2,tokens=45,gated", scaled_input ? ",scaled-input" : ""), q4_k && scaled_input,
                         [=, products = products](Check& check) { check_experts(check, products, *format, scaled_input); }});
      }
    }
  }
}

}  // namespace vkmoe::conformance
