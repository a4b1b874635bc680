#include "weights.h"

#include <algorithm>
#include <cctype>
#include <cmath>

namespace vkmoe::conformance {
namespace {

// Random bits make good blocks of any format, except where a scale is not finite, so large that sums overflow or so small
// that a device may flush it to zero.
void fill_block(const Format& format, std::mt19937& random, bool alike, Range range, uint8_t* block) {
  std::vector<float> values(format.block_elems);
  if (alike) range = {0.125f, 2};
  auto good = [&](float v) { return (v == 0 && !alike) || (std::abs(v) < range.most && std::abs(v) > range.least); };
  do {
    for (uint32_t i = 0; i < format.block_bytes; ++i) block[i] = uint8_t(random());
    format.decode(block, values.data());
  } while (!std::all_of(values.begin(), values.end(), good));
}

}  // namespace

RandomMatrix::RandomMatrix(Check& check, const Format& format, uint32_t experts, uint32_t n, uint32_t k, bool alike, Range range)
    : values(size_t(experts) * n * k), bytes_(size_t(experts) * n * row_bytes(format, k)) {
  for (size_t at = 0; at < bytes_.size(); at += format.block_bytes) fill_block(format, check.random, alike && format.block_elems == 1, range, &bytes_[at]);
  for (size_t r = 0; r < size_t(experts) * n; ++r)
    decode_row(format, &bytes_[r * row_bytes(format, k)], 0, k, &values[r * k]);
  tensor_ = {"weight", &format, {experts, n, k}, bytes_.data(), bytes_.size()};
  decoded_tensor_ = {"decoded", find_format("F32"), {experts, n, k}, reinterpret_cast<const uint8_t*>(values.data()),
                     values.size() * 4};
  matrix.n = decoded.n = n;
  matrix.k = decoded.k = k;
  for (uint32_t e = 0; e < experts; ++e) {
    matrix.experts.push_back({{&tensor_, e * n, n, 1}});
    decoded.experts.push_back({{&decoded_tensor_, e * n, n, 1}});
  }
}

Weight place(Check& check, const Matrix& matrix, const Matrix* up) {
  return place_weight(check.device(), matrix, up, "weight", [](uint64_t) {});
}

Weight cut(Check& check, const Weight& weight, uint32_t tile) {
  Device& device = check.device();
  const WeightShard& whole = weight.shards.at(0);
  size_t tile_bytes = size_t(weight.tile_quads) * 16, codebook_bytes = weight.format->codebook_words * 4;
  std::vector<uint8_t> bytes(whole.n_tiles * tile_bytes);
  device.wait_idle();
  device.read_back(whole.tiles, 0, bytes.data(), bytes.size());
  Weight parts = weight;
  parts.shards.clear();
  for (uint32_t first = 0, end = tile; first < whole.n_tiles; first = end, end = whole.n_tiles) {
    WeightShard shard;
    shard.first_tile = first;
    shard.n_tiles = end - first;
    shard.tiles = device.create_buffer(shard.n_tiles * tile_bytes + codebook_bytes, MemoryUse::device, "part of a weight");
    device.upload(shard.tiles, 0, &bytes[first * tile_bytes], shard.n_tiles * tile_bytes);
    if (codebook_bytes) device.upload(shard.tiles, shard.n_tiles * tile_bytes, weight.format->codebook, codebook_bytes);
    std::vector<int32_t> bases;
    for (uint32_t e = 0; e < weight.n_experts; ++e) bases.push_back(int32_t(e * weight.expert_tiles) - int32_t(first));
    shard.bases = device.create_buffer(bases.size() * 4, MemoryUse::device, "table of a part");
    device.upload(shard.bases, 0, bases.data(), bases.size() * 4);
    parts.shards.push_back(shard);
  }
  return parts;
}

uint32_t columns(const Format& format, bool wide) {
  if (format.block_elems == 1) return wide ? 360 : 40;
  return format.block_elems * (format.block_elems == 32 ? 11 : 3);
}

std::string lower_name(const Format& format) {
  std::string name = format.name;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return name;
}

Product product(const float* row, const float* x, uint32_t k, double x_error) {
  double sum = 0, norm = 0;
  for (uint32_t i = 0; i < k; ++i) {
    sum += double(row[i]) * x[i];
    norm += std::abs(double(row[i]) * x[i]);
  }
  return {sum, norm * ((k + 8) * half_ulp + x_error)};
}

// Four roundings a block, of terms up to scale * integer + minimum. Random integers span a third of their range at least, so
// that is at most 13 times the largest value of the 16 that share a scale: 6 times their span, and the largest itself.
Product integer_product(const float* weights, const double* x, uint32_t k, uint32_t part_roundings) {
  double sum = 0, norm = 0;
  for (uint32_t i = 0; i < k; i += 16) {
    double most = 0, all = 0;
    for (uint32_t j = i; j < i + 16; ++j) {
      sum += weights[j] * x[j];
      most = std::max(most, double(std::abs(weights[j])));
      all += std::abs(x[j]);
    }
    norm += 13 * most * all;
  }
  return {sum, norm * (4 * ((k + 31) / 32) + 8 + part_roundings) * half_ulp};
}

}  // namespace vkmoe::conformance
