// rmsnorm: y = x / sqrt(mean(x^2) + epsilon) * weight, or y += that; layernorm: with the mean taken off and a bias.
#include <algorithm>
#include <cmath>

#include "conformance/cases.h"

namespace vkmoe::conformance {
namespace {

struct Shape {
  uint32_t n_rows, x_first, width;
  double magnitude;
  const char* note;
  bool quick;
};

enum class Norm { rms, rms_add, layer };

void check_norm(Check& check, const Tuning& tuning, Norm norm, const Shape& s) {
  float epsilon = 1e-6f;
  uint32_t rows = s.x_first + s.n_rows;
  std::vector<float> x = random_values(check, size_t(rows) * s.width, s.magnitude), w = random_values(check, 2 * s.width);
  std::vector<float> before = random_values(check, size_t(s.n_rows) * s.width);
  std::vector<double> want, bound;
  for (uint32_t r = s.x_first; r < rows; ++r) {
    const float* row = &x[size_t(r) * s.width];
    double mean = 0, most = 0, squares = 0;
    for (uint32_t i = 0; i < s.width; ++i) {
      mean += double(row[i]) / s.width;
      most = std::max(most, std::abs(double(row[i])));
    }
    if (norm != Norm::layer) mean = 0;
    for (uint32_t i = 0; i < s.width; ++i) squares += (row[i] - mean) * (row[i] - mean);
    double scale = 1 / std::sqrt(squares / s.width + epsilon);
    // A mean of `width` values is off by so much, and with it every difference, of which the squares inherit twice that.
    double mean_error = norm == Norm::layer ? most * half_ulp * (s.width + 4) : 0;
    double deviation = std::sqrt(squares / s.width + epsilon), scale_error = mean_error / deviation;
    for (uint32_t i = 0; i < s.width; ++i) {
      double normed = (row[i] - mean) * scale * w[i], add = norm == Norm::rms_add ? before[want.size()] : 0;
      if (norm == Norm::layer) add = w[s.width + i];
      // Half the relative error of a sum of `width` squares (a root halves it); root and division of 2.5 units each.
      // A denormal may count as 0 from the start.
      bound.push_back(smallest * scale * std::abs(w[i]) + std::abs(normed) * (half_ulp * (s.width / 2.0 + 16) + scale_error) + mean_error * scale * std::abs(w[i]) +
                      half_ulp * (std::abs(add) + std::abs(normed + add)) * (add != 0));
      want.push_back(normed + add);
    }
  }
  Rows in = check.input_rows(x, s.width);
  BufferView weight = check.input(w, "weight");
  auto run = [&](uint32_t n_rows, uint32_t first) {
    Rows y = check.input_rows({before.begin() + (first - s.x_first) * s.width, before.begin() + (first - s.x_first + n_rows) * s.width}, s.width, "y");
    check.run(tuning, [&](Recorder& r) {
      if (norm == Norm::layer) layernorm(r, in, weight, y, n_rows, first, s.width, epsilon);
      else rmsnorm(r, in, weight, y, n_rows, first, s.width, epsilon, norm == Norm::rms_add);
    });
    check.padding_untouched(y, n_rows, s.width);
    return check.read_rows(y, n_rows, s.width);
  };
  std::vector<float> got = run(s.n_rows, s.x_first);
  check.close("y", got, want, bound);
  check.equal("last row alone", run(1, rows - 1), {got.end() - s.width, got.end()});
}

}  // namespace

void add_norms(Cases& cases) {
  const std::vector<Shape> shapes = {{3, 2, 100, 1, "", true}, {1, 0, 1, 1, "", true}, {2, 0, 31, 65504, ",fp16-overflow", true},
                                     {2, 1, 64, 1e-40, ",denormal", true}, {2, 0, 64, 0, ",zero", true},
                                     {2, 1, 65, 1e15, ",large", true}, {2, 0, 2048, 1, "", true}, {1, 0, 7168, 4, "", false},
                                     {130, 0, 33, 1, "", false}};
  for (Norm norm : {Norm::rms, Norm::rms_add, Norm::layer}) {
    for (const Lanes& lanes : all_lanes()) {
      for (const Shape& s : shapes) {
        cases.push_back({norm == Norm::layer ? "layernorm" : "rmsnorm", cat(norm == Norm::rms_add ? "add,lanes=" : "lanes=", lanes.lanes),
                         cat("rows=", s.n_rows, ",first=", s.x_first, ",width=", s.width, s.note), s.quick && lanes.quick,
                         [=](Check& check) { check_norm(check, with_lanes(check, lanes.lanes), norm, s); }});
      }
    }
  }
}

}  // namespace vkmoe::conformance
