// Finds scales and integers for the encoders: weighted least squares over some candidate scales. Large values weigh
// more, since they decide most of a dot product. Used by formats/*.cpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/numeric.h"

namespace vkmoe {

inline constexpr float half_max = 65504;  // the largest binary16

// The largest magnitude; NaN where a value is NaN.
inline float largest(const float* x, int n) {
  float most = 0;
  for (int i = 0; i < n; i++)
    if (!(std::fabs(x[i]) <= most)) most = std::isnan(most) ? most : std::fabs(x[i]);
  return most;
}

// v clamped and rounded to the nearest integer, ties to even; |low|, |high| < 2^22.
inline float round_within(float v, float low, float high) {
  return (std::min(std::max(v, low), high) + 0x1.8p23f) - 0x1.8p23f;
}

// The integer q in [low, high] with d * q nearest to x; 0 where d is.
inline int nearest(float x, float d, int low, int high) {
  return d == 0 ? 0 : int(round_within(x / d, float(low), float(high)));
}

// What a code stands for, before it is scaled: all integers of a range, or the entries of a table.
struct IntegerLevels {
  int low, high;
  float spread() const { return 0.09f * float(-low); }  // how far candidates reach beyond an end
  float level(float v) const { return round_within(v, float(low), float(high)); }
  int index(float v) const { return int(level(v)); }
};
struct TableLevels {
  const int8_t (&table)[16];  // ascending
  int low = table[0], high = table[15];
  float spread() const { return 0.06f * float(-low); }
  int index(float v) const {
    int q = 0;
    for (int step = 8; step; step /= 2)
      if (v > 0.5f * float(table[q + step - 1] + table[q + step])) q += step;
    return q;
  }
  float level(float v) const { return float(table[index(v)]); }
};

// The scale d, of either sign, with which levels times d are nearest to x.
template <class Levels>
float fit_scale(const float* x, int n, const Levels& levels) {
  float most = 0;
  for (int i = 0; i < n; i++)
    if (std::fabs(x[i]) > std::fabs(most)) most = x[i];
  if (std::fabs(most) < 1e-30f) return 0;
  float scale = 0, gain = 0;
  // For a scale whose levels are l, the best is d = sum(w x l) / sum(w l^2), which leaves sum(w x^2) - d sum(w x l).
  auto try_inverse = [&](float inverse) {
    float xl = 0, ll = 0;
    for (int i = 0; i < n; i++) {
      float l = levels.level(x[i] * inverse), w = x[i] * x[i];
      xl += w * x[i] * l;
      ll += w * l * l;
    }
    if (ll > 0 && xl * xl > gain * ll) scale = xl / ll, gain = xl * xl / ll;
  };
  for (int i = -9; i <= 9; i++) {
    float beyond = levels.spread() * float(i) / 9;
    try_inverse((float(levels.low) - beyond) / most);  // the largest value at the lowest level
  }
  return scale;
}

struct Range {
  float scale, minimum;
};

// x is nearest to scale * q + minimum, q an integer in [0, top], scale >= 0. nonpositive: the minimum must be <= 0.
inline Range fit_range(const float* x, int n, int top, bool nonpositive) {
  float low = x[0], high = x[0], square = 0;
  for (int i = 0; i < n; i++) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
    square += x[i] * x[i];
  }
  if (nonpositive) low = std::min(low, 0.0f);
  if (high - low < 1e-30f) return {0, low};
  float mean = std::sqrt(square / float(n)), w[64], sum_w = 0, sum_x = 0;
  for (int i = 0; i < n; i++) {
    w[i] = mean + std::fabs(x[i]);
    sum_w += w[i];
    sum_x += w[i] * x[i];
  }
  Range best{(high - low) / float(top), low};
  float least = -1;
  for (int step = -1; step <= 20; step++) {
    // The first candidate is the plain range, the others are solved for scale and minimum.
    float inverse = (float(top) + (step < 0 ? 0 : 0.1f * float(step) - 1)) / (high - low), q[64];
    float sum_q = 0, sum_qq = 0, sum_xq = 0;
    for (int i = 0; i < n; i++) {
      q[i] = round_within((x[i] - low) * inverse, 0, float(top));
      sum_q += w[i] * q[i];
      sum_qq += w[i] * q[i] * q[i];
      sum_xq += w[i] * q[i] * x[i];
    }
    Range range = best;
    if (step >= 0) {
      float determinant = sum_w * sum_qq - sum_q * sum_q;
      if (!(determinant > 0)) continue;
      range = {(sum_w * sum_xq - sum_x * sum_q) / determinant, (sum_qq * sum_x - sum_q * sum_xq) / determinant};
      if (nonpositive && range.minimum > 0) range = {sum_xq / sum_qq, 0};
      if (!(range.scale > 0)) continue;
    }
    float error = 0;
    for (int i = 0; i < n; i++) {
      float difference = range.scale * q[i] + range.minimum - x[i];
      error += w[i] * difference * difference;
    }
    if (least < 0 || error < least) best = range, least = error;
  }
  return best;
}

// 256 values as (d * scale) * level, a scale for each `part` of them.
struct ScaledBlock {
  float d;         // exact in binary16
  int scales[16];
  int q[256];      // Levels::index()
};
template <class Levels>
bool fit_scaled_block(const float* x, int part, const Levels& levels, int scale_low, int scale_high, ScaledBlock& out) {
  if (!(largest(x, 256) <= half_max)) return false;
  float scales[16], most = 0;
  int parts = 256 / part;
  for (int i = 0; i < parts; i++) {
    scales[i] = fit_scale(x + i * part, part, levels);
    if (std::fabs(scales[i]) > std::fabs(most)) most = scales[i];
  }
  out.d = half_to_float(float_to_half(most / float(scale_low)));
  for (int i = 0; i < parts; i++) {
    out.scales[i] = nearest(scales[i], out.d, scale_low, scale_high);
    float scale = out.d * float(out.scales[i]);
    for (int j = i * part; j < (i + 1) * part; j++) out.q[j] = levels.index(scale == 0 ? 0 : x[j] / scale);
  }
  return true;
}

// 256 values as (d * scale) * q - (dmin * minimum), scale and minimum in [0, most_scale] for each `part` of them.
struct RangedBlock {
  float d, dmin;  // exact in binary16
  uint8_t scales[16], minima[16], q[256];
};
inline bool fit_ranged_block(const float* x, int part, int top, int most_scale, RangedBlock& out) {
  if (!(largest(x, 256) <= half_max)) return false;
  Range ranges[16];
  float scale = 0, minimum = 0;
  int parts = 256 / part;
  for (int i = 0; i < parts; i++) {
    ranges[i] = fit_range(x + i * part, part, top, true);
    scale = std::max(scale, ranges[i].scale);
    minimum = std::max(minimum, -ranges[i].minimum);
  }
  out.d = half_to_float(float_to_half(scale / float(most_scale)));
  out.dmin = half_to_float(float_to_half(minimum / float(most_scale)));
  for (int i = 0; i < parts; i++) {
    out.scales[i] = uint8_t(nearest(ranges[i].scale, out.d, 0, most_scale));
    out.minima[i] = uint8_t(nearest(-ranges[i].minimum, out.dmin, 0, most_scale));
    float s = out.d * float(out.scales[i]), m = out.dmin * float(out.minima[i]);
    for (int j = i * part; j < (i + 1) * part; j++) out.q[j] = uint8_t(nearest(x[j] + m, s, 0, top));
  }
  return true;
}

}  // namespace vkmoe
