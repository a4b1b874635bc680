#include "moe/positions.h"

#include <algorithm>
#include <cmath>

namespace vkmoe {

// Frequencies and angles are rounded to float32 as fairseq and transformers do, since models were trained with that.
std::vector<float> sinusoidal_positions(uint32_t count, uint32_t width, uint32_t padding_id) {
  uint32_t half = width / 2;
  std::vector<float> table((count + size_t(1)) * width, 0.0f);
  float step = float(-(std::log(10000.0) / (half - 1)));
  for (uint32_t i = 0; i < half; ++i) {
    float frequency = float(std::exp(double(float(i) * step)));
    for (uint32_t row = 1; row <= count; ++row) {
      float angle = float(padding_id + row) * frequency;
      table[size_t(row) * width + i] = float(std::sin(double(angle)));
      table[size_t(row) * width + half + i] = float(std::cos(double(angle)));
    }
  }
  return table;
}

// In float32, as transformers' _relative_position_bucket: at the edge of a bucket rounding decides.
uint32_t position_bucket(int distance, bool bidirectional, uint32_t n_buckets, uint32_t max_distance) {
  uint32_t first = 0, steps = uint32_t(distance > 0 ? distance : -distance);
  if (bidirectional) {
    n_buckets /= 2;
    if (distance > 0) first = n_buckets;
  } else if (distance > 0) {
    steps = 0;
  }
  uint32_t exact = n_buckets / 2;
  if (steps < exact) return first + steps;
  float scale = float(std::log(double(max_distance) / exact));
  float large = std::log(float(steps) / float(exact)) / scale * float(n_buckets - exact);
  return first + std::min(exact + uint32_t(large), n_buckets - 1);
}

std::vector<float> position_bias(const Hyper& h, const std::vector<float>& buckets) {
  int reach = int(h.position_distance);
  std::vector<float> bias;
  for (uint32_t head = 0; head < h.n_heads; ++head)
    for (int distance = -reach; distance <= reach; ++distance)
      bias.push_back(buckets[position_bucket(distance, h.bidirectional, h.position_buckets, h.position_distance) * h.n_heads + head]);
  return bias;
}

}  // namespace vkmoe
