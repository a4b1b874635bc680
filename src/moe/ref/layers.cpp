// The pieces of a layer: norm, matrix product, rotary embedding, attention.
#include <algorithm>
#include <cmath>

#include "moe/ref/ref.h"

namespace vkmoe::ref {

std::vector<float> rmsnorm(const float* x, const std::vector<float>& weight, float epsilon) {
  double squares = 0;
  for (size_t i = 0; i < weight.size(); ++i) squares += double(x[i]) * x[i];
  float scale = float(1 / std::sqrt(squares / double(weight.size()) + epsilon));
  std::vector<float> y(weight.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = x[i] * scale * weight[i];
  return y;
}

std::vector<float> layernorm(const float* x, const std::vector<float>& weight, const std::vector<float>& bias, float epsilon) {
  size_t n = weight.size();
  double mean = 0, squares = 0;
  for (size_t i = 0; i < n; ++i) mean += x[i] / double(n);
  for (size_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  double scale = 1 / std::sqrt(squares / double(n) + epsilon);
  std::vector<float> y(n);
  for (size_t i = 0; i < n; ++i) y[i] = float((x[i] - mean) * scale * weight[i] + (bias.empty() ? 0 : bias[i]));
  return y;
}

std::vector<float> matvec(const Matrix& matrix, uint32_t expert, const float* x) {
  std::vector<float> y(matrix.n), row(matrix.k);
  std::vector<uint8_t> scratch;
  for (uint32_t r = 0; r < matrix.n; ++r) {
    const Format* format;
    const uint8_t* data = matrix.row(expert, r, &format, scratch);
    decode_row(*format, data, 0, matrix.k, row.data());
    float sum[8] = {};  // eight at a time, for speed alone
    for (uint32_t i = 0; i < matrix.k; ++i) sum[i % 8] += row[i] * x[i];
    y[r] = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
  }
  if (!matrix.bias.empty()) {
    std::vector<float> bias = matrix.bias_values(expert);
    for (uint32_t r = 0; r < matrix.n; ++r) y[r] += bias[r];
  }
  return y;
}

std::vector<float> transposed_matvec(const Matrix& matrix, uint32_t expert, const float* x) {
  std::vector<float> y(matrix.k, 0.0f), row(matrix.k);
  std::vector<uint8_t> scratch;
  for (uint32_t r = 0; r < matrix.n; ++r) {
    const Format* format;
    const uint8_t* data = matrix.row(expert, r, &format, scratch);
    decode_row(*format, data, 0, matrix.k, row.data());
    for (uint32_t i = 0; i < matrix.k; ++i) y[i] += row[i] * x[r];
  }
  return y;
}

void rope(float* head, const std::vector<double>& frequencies, double factor, bool interleaved, uint32_t position) {
  size_t pairs = frequencies.size();
  for (size_t i = 0; i < pairs; ++i) {
    double angle = position * frequencies[i];
    float c = float(factor * std::cos(angle)), s = float(factor * std::sin(angle));
    float& a = head[interleaved ? 2 * i : i];
    float& b = head[interleaved ? 2 * i + 1 : i + pairs];
    float turned_a = a * c - b * s, turned_b = b * c + a * s;
    a = turned_a;
    b = turned_b;
  }
}

std::vector<float> attend(const float* query, HeadRows keys, HeadRows values, uint32_t n_keys, float scale,
                          float softcap, const float* sink,
                          const std::vector<float>& bias) {
  std::vector<float> p(n_keys), y(values.dim, 0.0f);
  float maximum = sink ? *sink : -INFINITY;
  for (uint32_t j = 0; j < n_keys; ++j) {
    float dot = 0;
    for (uint32_t i = 0; i < keys.dim; ++i) dot += query[i] * keys.first[size_t(j) * keys.stride + i];
    p[j] = dot * scale + (bias.empty() ? 0 : bias[j]);
    if (softcap > 0) p[j] = softcap * std::tanh(p[j] / softcap);
    maximum = std::max(maximum, p[j]);
  }
  float sum = sink ? std::exp(*sink - maximum) : 0;
  for (float& v : p) sum += v = std::exp(v - maximum);
  for (uint32_t j = 0; j < n_keys; ++j)
    for (uint32_t i = 0; i < values.dim; ++i) y[i] += p[j] * values.first[size_t(j) * values.stride + i];
  for (float& v : y) v /= sum;
  return y;
}

}  // namespace vkmoe::ref
