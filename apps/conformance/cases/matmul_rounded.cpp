// quantize_rows: rows of x as int8, within half a step. matmul_int8: y = W x for such rows, in every format of integers,
// where products are exact and only scales and sums in float32 round.
#include <cmath>

#include "conformance/cases.h"
#include "conformance/weights.h"

namespace vkmoe::conformance {
namespace {

void need_integer_dot(const Check& check) {
  if (!check.caps().integer_dot) throw Unsupported("integer dot products");
}

// Rows as quantize_rows.comp left them: (n, blocks * 32) values of scale * integer, and the parts.
struct Int8Rows {
  uint32_t blocks;
  std::vector<int32_t> integers;
  std::vector<float> scales, sums;  // (n, blocks); (n, blocks, 3)
  double value(size_t row, uint32_t i) const {
    return double(scales[row * blocks + i / 32]) * integers[row * blocks * 32 + i];
  }
};

Int8Rows read_int8(const Check& check, const BufferView& view, uint32_t n, uint32_t k) {
  Int8Rows rows = {(k + 31) / 32, {}, {}, {}};
  std::vector<int8_t> bytes = check.read<int8_t>(view, int8_rows_bytes(n, k));
  for (size_t at = 0; at < bytes.size(); at += INT8_QUADS * 16) {
    float parts[4];
    std::memcpy(parts, &bytes[at + 32], 16);
    rows.integers.insert(rows.integers.end(), &bytes[at], &bytes[at] + 32);
    rows.scales.push_back(parts[0]);
    rows.sums.insert(rows.sums.end(), parts + 1, parts + 4);
  }
  return rows;
}

// Rows of a random magnitude each; some blocks are zero, and one value is what is given.
void check_quantize(Check& check, uint32_t n, uint32_t k, float odd) {
  std::vector<float> x = random_values(check, size_t(n) * k);
  for (size_t i = 0; i < x.size(); ++i) {
    int power = int(i / k * 7 % 60) - 30;
    x[i] = i / 32 % 5 == 3 ? 0 : std::ldexp(x[i], power);
  }
  x[x.size() / 2] = odd;
  Rows in = check.input_rows(x, k);
  BufferView out = check.output(int8_rows_bytes(n, k) / 4);
  check.run(Tuning::of(check.caps()), [&](Recorder& r) { quantize_rows(r, in, out, n, k); });
  Int8Rows got = read_int8(check, out, n, k);
  std::vector<float> scales, values, sums;
  std::vector<double> want_scales, scale_bounds, want_values, value_bounds, want_sums, sum_bounds;
  for (uint32_t row = 0; row < n; ++row) {
    for (uint32_t b = 0; b < got.blocks; ++b) {
      double most = 0;
      float scale = got.scales[row * got.blocks + b];
      int32_t parts[3] = {};
      bool finite = true;
      auto original = [&](uint32_t i) { return i < k ? x[size_t(row) * k + i] : 0; };
      for (uint32_t i = b * 32; i < b * 32 + 32; ++i) {
        finite = finite && std::isfinite(original(i));
        most = std::max(most, double(std::abs(original(i))));
      }
      for (uint32_t i = b * 32; i < b * 32 + 32; ++i) {
        int32_t q = got.integers[size_t(row) * got.blocks * 32 + i];
        parts[i / 16 % 2] += q;
        if (!finite) continue;
        check.that(std::abs(q) <= 127, "integer ", i, " of row ", row, ": expected at most 127, found ", q);
        values.push_back(float(got.value(row, i)));
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
        sums.push_back(got.sums[(row * got.blocks + b) * 3 + s]);
        want_sums.push_back(double(scale) * parts[s]);
        sum_bounds.push_back(half_ulp * std::abs(want_sums.back()));
      }
    }
  }
  check.close("scales", scales, want_scales, scale_bounds);
  check.close("values", values, want_values, value_bounds);
  check.close("sums", sums, want_sums, sum_bounds);
}

// W x of one row, and what scales and sums in float32 may be off: four roundings a block, of terms up to scale * integer
// + minimum. Random integers span a third of their range at least, so that is at most 13 times the largest value of the
// 16 that share a scale: 6 times their span, and the largest itself.
Product int8_product(const float* weights, const Int8Rows& x, size_t row, uint32_t k) {
  double sum = 0, norm = 0;
  for (uint32_t i = 0; i < k; i += 16) {
    double most = 0, all = 0;
    for (uint32_t j = i; j < i + 16; ++j) {
      sum += weights[j] * x.value(row, j);
      most = std::max(most, double(std::abs(weights[j])));
      all += std::abs(x.value(row, j));
    }
    norm += 13 * most * all;
  }
  return {sum, norm * (4 * x.blocks + 8) * half_ulp};
}

struct Job {
  uint32_t n, n_rows, x_first, lanes, lane_rows, epilogue;
  bool shards;
};

std::vector<float> run(Check& check, const Weight& weight, Rows x, BufferView int8_x, uint32_t k, const Job& job,
                       uint32_t n_rows) {
  Tuning tuning = Tuning::of(check.caps());
  tuning.staged = {job.lanes, job.lane_rows, 2};
  tuning.int8_products = true;
  Rows y = check.input_rows(std::vector<float>(size_t(n_rows) * job.n, 1.0f), job.n, "y");
  check.run(tuning, [&](Recorder& r) {
    check.that(takes_int8(r, weight, n_rows), "no integers");
    quantize_rows(r, x, int8_x, job.x_first + n_rows, k);
    matmul(r, {.weight = weight, .x = x, .y = y, .n_rows = n_rows, .x_first = job.x_first, .epilogue = job.epilogue,
               .scale = 0.5f, .int8_x = int8_x, .activation = {ACTIVATION_RELU, 0, 0}});
  });
  check.padding_untouched(y, n_rows, job.n);
  return check.read_rows(y, n_rows, job.n);
}

void check_int8(Check& check, const Format& format, const Job& job) {
  need_integer_dot(check);
  uint32_t k = columns(format, true), rows = job.x_first + job.n_rows;
  bool paired = job.epilogue == EPILOGUE_GATED;
  RandomMatrix gate(check, format, 1, job.n, k), up(check, format, 1, paired ? job.n : 1, k);
  Weight weight = place(check, gate.matrix, paired ? &up.matrix : nullptr);
  if (job.shards) weight = cut(check, weight, paired ? 2 : 1);
  Rows x = check.input_rows(random_values(check, size_t(rows) * k, 2), k);
  BufferView int8_x = check.output(int8_rows_bytes(rows, k) / 4, "int8");
  std::vector<float> got = run(check, weight, x, int8_x, k, job, job.n_rows);
  Int8Rows rounded = read_int8(check, int8_x, rows, k);
  std::vector<double> want, bound;
  for (uint32_t t = 0; t < job.n_rows; ++t) {
    for (uint32_t r = 0; r < job.n; ++r) {
      Product g = int8_product(gate.row(0, r), rounded, job.x_first + t, k);
      if (paired) {  // RELU is no steeper than 1
        Product u = int8_product(up.row(0, r), rounded, job.x_first + t, k);
        double a = std::max(g.value, 0.0);
        want.push_back(a * u.value);
        bound.push_back(g.bound * (std::abs(u.value) + u.bound) + a * u.bound + half_ulp * std::abs(want.back()));
        continue;
      }
      double before = job.epilogue == EPILOGUE_ADD ? 1 : 0;
      want.push_back(before + 0.5 * g.value);
      bound.push_back(0.5 * g.bound + half_ulp * (before + std::abs(want.back())));
    }
  }
  check.close("y", got, want, bound);
  uint32_t fewer = job.n_rows - 1;  // a row's result does not hang on its neighbours
  std::vector<float> part = run(check, weight, x, int8_x, k, job, fewer);
  check.equal("y of fewer rows", part, {got.begin(), got.begin() + size_t(fewer) * job.n});
}

}  // namespace

void add_quantize_rows(Cases& cases) {
  for (float odd : {1.5f, 3e38f, std::nanf(""), -INFINITY})
    for (uint32_t k : {32u, 360u, 1024u})
      cases.push_back({"quantize_rows", cat("k=", k), cat("rows=19,with=", odd), k == 360,
                       [=](Check& check) { check_quantize(check, 19, k, odd); }});
}

void add_matmul_int8(Cases& cases) {
  const Job jobs[] = {{70, 37, 2, 128, 4, EPILOGUE_STORE, true}, {40, 33, 0, 128, 4, EPILOGUE_GATED, true},
                      {64, 17, 0, 64, 8, EPILOGUE_ADD, false}, {33, 64, 1, 128, 8, EPILOGUE_STORE, false},
                      {100, 20, 0, 64, 4, EPILOGUE_GATED, false}};
  const char* epilogues[] = {"", ",add", ",gated"};
  for (const Format* format : all_formats()) {
    if (!find_kernel("matmul_int8_" + lower_name(*format))) continue;
    for (const Job& job : jobs) {
      bool quick = &job == &jobs[0] || (&job == &jobs[1] && format->name == std::string("Q4_K"));
      cases.push_back({"matmul_int8", cat(lower_name(*format), ",lanes=", job.lanes, ",rows=", job.lane_rows),
                       cat("n=", job.n, ",tokens=", job.n_rows, ",first=", job.x_first, epilogues[job.epilogue],
                           job.shards ? ",shards" : ""),
                       quick, [=](Check& check) { check_int8(check, *format, job); }});
    }
  }
}

}  // namespace vkmoe::conformance
