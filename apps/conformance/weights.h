// Random weights of any format, on the device and as the values they stand for.
#pragma once
#include "check.h"

namespace vkmoe::conformance {

// Matrices (experts, n, k) of random blocks, with the float32 values that the CPU decodes them to.
// alike: values that stand alone are of like size, so that each of them matters in a sum. range: magnitudes of what is not zero.
struct Range {
  float least = 1e-30f, most = 1e9f;
};
class RandomMatrix {
 public:
  RandomMatrix(Check& check, const Format& format, uint32_t experts, uint32_t n, uint32_t k, bool alike = false, Range range = {});
  RandomMatrix(const RandomMatrix&) = delete;

  Matrix matrix, decoded;     // in the format; as F32
  std::vector<float> values;  // (experts, n, k)
  const float* row(uint32_t expert, uint32_t r) const { return &values[(size_t(expert) * matrix.n + r) * matrix.k]; }

 private:
  std::vector<uint8_t> bytes_;
  Tensor tensor_, decoded_tensor_;
};

Weight place(Check& check, const Matrix& matrix, const Matrix* up = nullptr);

// The same weight in two shards, cut before a tile: as if the device's bindings were smaller.
Weight cut(Check& check, const Weight& weight, uint32_t tile);

// Columns with odd numbers of device blocks, so that tails do not end with a word, and no multiple of 32 where the format
// allows it; more of them where `wide`.
uint32_t columns(const Format& format, bool wide = false);

// "q4_k"
std::string lower_name(const Format& format);

// W x of one row in double precision, and the most that k float32 products and sums in eight segments may be off.
struct Product {
  double value, bound;
};
Product product(const float* row, const float* x, uint32_t k, double x_error = 0);
// The same where the 32 products of a block are summed, in part_roundings, before they meet scale and minimum (format.glsl:
// INT8_SCALES).
Product integer_product(const float* weights, const double* x, uint32_t k, uint32_t part_roundings = 0);

}  // namespace vkmoe::conformance
