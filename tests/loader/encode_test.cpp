// Encoders: what they lose, what they refuse, and the files that they make.
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/numeric.h"
#include "loader/format.h"
#include "test_files.h"

using namespace vkmoe;

namespace {

constexpr int n = 256;
constexpr float half_epsilon = 0x1p-11f;

// The largest error of the plainest quantizer of a format, in units of the largest magnitude of the 256 values: half of
// the widest gap between levels, or what is cut off where the levels reach less far on one side; then half a step of
// the scale of a part, times the largest level. Scales in binary16 add half_epsilon each.
struct Bound {
  const char* name;
  double most;
};
const Bound bounds[] = {
    {"F32", 0},
    {"F16", half_epsilon},
    {"BF16", 0x1p-8},
    {"Q8_0", 0.5 / 127 + half_epsilon},
    {"Q4_0", 1.0 / 8 + half_epsilon},                            // -8 d .. 7 d
    {"Q5_0", 1.0 / 16 + half_epsilon},                           // -16 d .. 15 d
    {"Q4_1", 0.5 * 2 / 15 + 3 * half_epsilon},                   // 16 levels over twice the magnitude
    {"Q5_1", 0.5 * 2 / 31 + 3 * half_epsilon},
    {"Q6_K", 1.0 / 32 + 0.5 / 128 + half_epsilon},
    {"Q3_K", 1.0 / 4 + 0.5 / 32 + half_epsilon},
    {"Q5_K", 0.5 * 2 / 31 + (0.5 * 2 + 0.5) / 63 + 3 * half_epsilon},  // scale and minimum in 63rds
    {"Q4_K", 0.5 * 2 / 15 + (0.5 * 2 + 0.5) / 63 + 3 * half_epsilon},
    {"Q2_K", 0.5 * 2 / 3 + (0.5 * 2 + 0.5) / 15 + 3 * half_epsilon},
    {"IQ4_NL", 14.0 / 127 + half_epsilon},                       // -127 d .. 113 d
    {"IQ4_XS", 14.0 / 127 + 0.5 / 32 + half_epsilon},
    {"MXFP4", 0.25},                                             // at most a power of two from the best scale
};

std::vector<float> decoded(const Format& format, const std::vector<float>& x) {
  std::vector<uint8_t> blocks(row_bytes(format, x.size()) + 1, 0xa5);
  for (size_t i = 0; i < x.size(); i += format.block_elems)
    REQUIRE(format.encode(&x[i], &blocks[row_bytes(format, i)]));
  CHECK(blocks.back() == 0xa5);
  std::vector<float> back(x.size());
  decode_row(format, blocks.data(), 0, x.size(), back.data());
  return back;
}

// Encoders weigh errors by x or x^2; so does this root of the weighted mean square, in units of the largest magnitude.
double weighted_error(const std::vector<float>& x, const std::vector<float>& back) {
  double most = 0, error = 0, weights = 0;
  for (size_t i = 0; i < x.size(); i++) {
    double w = double(x[i]) * x[i], e = double(back[i]) - x[i];
    most = std::max(most, std::fabs(double(x[i])));
    error += w * e * e;
    weights += w;
  }
  return weights > 0 ? std::sqrt(error / weights) / most : 0;
}

// Rows of different kinds: normal, heavy tails, all positive, one outlier, small and large.
std::vector<std::vector<float>> rows() {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> all;
  for (float scale : {1.0f, 1e-2f, 3e3f}) {
    std::vector<float> plain(n), heavy(n), positive(n), outlier(n), sparse(n);
    for (int i = 0; i < n; i++) {
      plain[i] = scale * normal(random);
      heavy[i] = scale * std::pow(normal(random), 3.0f) / 8;
      positive[i] = scale * (1 + std::fabs(normal(random)));
      outlier[i] = scale * normal(random) / 50;
      sparse[i] = i % 16 ? 0 : scale * normal(random);
    }
    outlier[100] = -4 * scale;
    for (auto* row : {&plain, &heavy, &positive, &outlier, &sparse}) all.push_back(*row);
  }
  return all;
}

const Format& named(const char* name) {
  const Format* format = find_format(std::string(name));
  REQUIRE(format);
  REQUIRE((format->encode != nullptr));
  return *format;
}

}  // namespace

TEST_CASE("encoders lose no more than the plainest quantizer of the format") {
  size_t made = 0;
  for (const Format* format : all_formats()) made += format->encode != nullptr;
  CHECK(made == std::size(bounds));
  for (const Bound& bound : bounds) {
    CAPTURE(bound.name);
    int at = 0;
    for (const std::vector<float>& x : rows()) {
      CAPTURE(at++);
      CHECK(weighted_error(x, decoded(named(bound.name), x)) <= bound.most);
    }
  }
}

// Root of the mean square error on a normal distribution, of llama.cpp's quantizers without an importance matrix
// (quantized and measured once, on 2^20 values): ours must come within 2 percent or below.
TEST_CASE("encoders are as good as llama.cpp's on normally distributed values") {
  const std::pair<const char*, double> peers[] = {
      {"Q8_0", 0.00535}, {"Q4_0", 0.08600}, {"Q4_1", 0.07826}, {"Q5_0", 0.04270}, {"Q5_1", 0.03785},
      {"Q2_K", 0.29672}, {"Q3_K", 0.15098}, {"Q4_K", 0.07137}, {"Q5_K", 0.03613}, {"Q6_K", 0.01775},
      {"IQ4_NL", 0.07618}, {"IQ4_XS", 0.07677}, {"MXFP4", 0.11520}};
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  std::vector<float> x(n * 256);
  for (float& value : x) value = normal(random);
  for (const auto& [name, peer] : peers) {
    CAPTURE(name);
    std::vector<float> back = decoded(named(name), x);
    double error = 0, square = 0;
    for (size_t i = 0; i < x.size(); i++) {
      error += std::pow(double(back[i]) - x[i], 2);
      square += std::pow(double(x[i]), 2);
    }
    CHECK(std::sqrt(error / square) <= 1.02 * peer);
  }
}

TEST_CASE("zero stays zero, and blocks of one value keep it") {
  for (const Bound& bound : bounds) {
    CAPTURE(bound.name);
    for (float value : decoded(named(bound.name), std::vector<float>(n))) CHECK(value == 0);
    for (float constant : {1.0f, -3.5f, 0.25f}) {
      float back = decoded(named(bound.name), std::vector<float>(n, constant))[n - 1];
      double most = std::string(bound.name) == "MXFP4" ? 0.25 : 3 * half_epsilon;
      if (std::string(bound.name) == "BF16") most = 0x1p-8;
      CHECK(std::fabs(back - constant) <= most * std::fabs(constant));
    }
  }
}

TEST_CASE("values below what a scale in binary16 can say become small, not wrong") {
  for (const Bound& bound : bounds)
    for (float tiny : {1e-9f, 1e-20f, 1e-38f, 1e-44f}) {
      CAPTURE(bound.name);
      CAPTURE(tiny);
      std::vector<float> x(n);
      for (int i = 0; i < n; i++) x[i] = i % 3 ? tiny : -tiny;
      for (float value : decoded(named(bound.name), x)) CHECK(std::fabs(value) <= 0x1p-18f);
    }
}

TEST_CASE("NaN, infinity and values beyond a scale are refused") {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const Bound& bound : bounds) {
    const Format& format = named(bound.name);
    CAPTURE(bound.name);
    for (float bad : {infinity, -infinity, nan, -nan})
      for (uint32_t at : {0u, format.block_elems / 2, format.block_elems - 1}) {
        std::vector<float> x(format.block_elems, 1.0f);
        x[at] = bad;
        std::vector<uint8_t> block(format.block_bytes);
        CHECK(!format.encode(x.data(), block.data()));
      }
    std::vector<float> large(format.block_elems, -1e30f);
    std::vector<uint8_t> block(format.block_bytes);
    bool wide = std::string(bound.name) == "F32" || std::string(bound.name) == "BF16" || std::string(bound.name) == "MXFP4";
    CHECK(format.encode(large.data(), block.data()) == wide);
    std::vector<float> edge(format.block_elems, 65504.0f);
    edge[0] = -65504;
    CHECK(format.encode(edge.data(), block.data()));
    std::vector<float> back(format.block_elems);
    format.decode(block.data(), back.data());
    for (float value : back) CHECK(std::isfinite(value));
  }
}

TEST_CASE("binary16 and bfloat16: every value comes back, others go to the nearest") {
  int wrong = 0;
  for (uint32_t h = 0; h < 0x10000; h++) {
    float value = half_to_float(uint16_t(h)), wide = bf16_to_float(uint16_t(h));
    if (!std::isnan(value)) wrong += float_to_half(value) != h;
    if (!std::isnan(wide)) wrong += float_to_bf16(wide) != h;
    // The middle between two neighbours goes to the even one, anything beyond it to its side.
    float next = half_to_float(uint16_t(h + 1));
    if ((h & 0x7fff) < 0x7bff) {
      float middle = float((double(value) + double(next)) / 2);
      wrong += float_to_half(middle) != (h & 1 ? h + 1 : h);
      wrong += float_to_half(std::nextafter(middle, value)) != h;
      wrong += float_to_half(std::nextafter(middle, next)) != h + 1;
    }
  }
  CHECK(wrong == 0);
  CHECK(float_to_half(65519.99f) == 0x7bff);
  CHECK(float_to_half(65520.0f) == 0x7c00);
  CHECK(std::isnan(half_to_float(float_to_half(std::numeric_limits<float>::quiet_NaN()))));
  CHECK(std::isnan(bf16_to_float(float_to_bf16(bits_to_float(0x7f800001)))));
  CHECK(float_to_bf16(1.00390625f) == 0x3f80);  // ties to even
}
