// Chooses the next token from the logits: repetition penalty (Keskar et al. 2019), top-k, softmax with temperature,
// min-p, top-p (Holtzman et al. 2020), draw. One workgroup. Thresholds are found by counting and weighing the values by
// 8 bits at a time, without sorting; weights are integers (WEIGHT_ONE for the most likely), so that no order of
// summation can change the outcome. Ties go to the lower id.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "shared/layer.h"
#include "shared/sample.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 128;

layout(binding = 0) readonly buffer Rule { SampleRule rule; };
layout(binding = 1) readonly buffer Logits { float logits[]; };          // (vocab) f32
layout(binding = 2) coherent buffer Adjusted { float adjusted[]; };      // (vocab) f32: after the penalty
layout(binding = 3) buffer StepState { Step step_state; };
layout(binding = 4) buffer History { uint history[]; };                  // (HISTORY) u32, by position
layout(binding = 5) writeonly buffer Tokens { uint tokens[]; };          // tokens[0]: input of the next pass
layout(binding = 6) writeonly buffer Ring { uint ring[]; };              // (SAMPLE_RING) u32, read by the host
layout(push_constant) uniform Push { SampleParams p; };

#include "lib/order_key.glsl"
#include "lib/philox.glsl"

const uint BIN_GROUPS = 16;
shared uint lane_key[LANES], lane_id[LANES];     // best of a lane; later ties before a lane
shared uint bin_count[256], bin_high[256];       // per 8 bits: tokens or low halves of weights, high halves of weights
shared uint lane_low[LANES], lane_high[LANES];   // 64-bit weight of a lane, then of all up to it
shared uvec2 group_weight[BIN_GROUPS];           // of 16 bins
shared uint threshold_key, threshold_ties;       // kept: larger keys, and the first so many equal ones
shared uint found;
shared uvec2 above;                              // count or 64-bit weight (low, high) over the threshold

uvec2 add64(uvec2 a, uvec2 b) {
  uint carry;
  uint low = uaddCarry(a.x, b.x, carry);
  return uvec2(low, a.y + b.y + carry);
}
bool less64(uvec2 a, uvec2 b) { return a.y < b.y || (a.y == b.y && a.x < b.x); }
uvec2 sub64(uvec2 a, uvec2 b) {
  uint borrow;
  uint low = usubBorrow(a.x, b.x, borrow);
  return uvec2(low, a.y - b.y - borrow);
}
// floor(a * b / 2^32), a below 2^46.
uvec2 scale64(uvec2 a, uint b) {
  uint high0, low0, high1, low1;
  umulExtended(a.x, b, high0, low0);
  umulExtended(a.y, b, high1, low1);
  return add64(uvec2(high0, 0), uvec2(low1, high1));
}
// A bin's weights: low 14 bits and high 14 bits were summed apart.
uvec2 bin_weight(uint bin) {
  return add64(uvec2(bin_count[bin], 0), uvec2(bin_high[bin] << 14, bin_high[bin] >> 18));
}

uint weight_of(uint key, float best) {
  float w = exp((key_value(key) - best) / rule.temperature);
  if (!(w >= rule.min_p)) return 0;
  return uint(w * float(WEIGHT_ONE) + 0.5);
}

void sync() {
  memoryBarrierBuffer();
  barrier();
}

// Order keys of tokens first, first + step ... below end, else 0. Four loads at a time hide each other's latency.
uvec4 keys_at(uint first, uint step, uint end) {
  uvec4 at = first + step * uvec4(0, 1, 2, 3), keys;
  vec4 values;
  [[unroll]] for (uint j = 0; j < 4; ++j) values[j] = at[j] < end ? adjusted[at[j]] : 0.0;
  [[unroll]] for (uint j = 0; j < 4; ++j) keys[j] = at[j] < end ? order_key(values[j]) : 0;
  return keys;
}

void penalize(uint lane) {
  for (uint i = lane; i < p.vocab; i += 4 * LANES) {
    vec4 values;
    [[unroll]] for (uint j = 0; j < 4; ++j) if (i + j * LANES < p.vocab) values[j] = logits[i + j * LANES];
    [[unroll]] for (uint j = 0; j < 4; ++j) if (i + j * LANES < p.vocab) adjusted[i + j * LANES] = values[j];
  }
  sync();
  uint n = min(min(rule.penalty_last, PENALTY_MOST), step_state.next);
  if (rule.penalty != 1.0) {
    for (uint i = lane; i < n; i += LANES) {
      uint id = history[(step_state.next - 1 - i) % HISTORY];
      bool again = false;  // a token counts once
      for (uint j = 0; j < i; ++j) again = again || history[(step_state.next - 1 - j) % HISTORY] == id;
      if (!again && id < p.vocab) adjusted[id] = logits[id] > 0.0 ? logits[id] / rule.penalty : logits[id] * rule.penalty;
    }
    sync();
  }
}

void find_best(uint lane) {
  uint best = 0, id = 0;
  for (uint i = lane; i < p.vocab; i += 4 * LANES) {
    uvec4 keys = keys_at(i, LANES, p.vocab);
    [[unroll]] for (uint j = 0; j < 4; ++j)
      if (keys[j] > best) { best = keys[j]; id = i + j * LANES; }
  }
  lane_key[lane] = best;
  lane_id[lane] = id;
  barrier();
  for (uint half_lanes = LANES / 2; half_lanes > 0; half_lanes /= 2) {
    uint other = lane + half_lanes;
    if (lane < half_lanes && (lane_key[other] > best || (lane_key[other] == best && lane_id[other] < id))) {
      lane_key[lane] = best = lane_key[other];
      lane_id[lane] = id = lane_id[other];
    }
    barrier();
  }
  if (lane == 0) { threshold_key = best; found = id; }
  barrier();
}

// The first bin from above with which `above` and the bins over it reach `wanted`, or 0; adds those over it to `above`.
// For one invocation, after all have filled bins and sum_groups().
uint find_bin(uvec2 wanted) {
  uint group = BIN_GROUPS - 1;
  for (; group > 0; --group) {
    uvec2 with_group = add64(above, group_weight[group]);
    if (!less64(with_group, wanted)) break;
    above = with_group;
  }
  uint bins = 256 / BIN_GROUPS, bin = group * bins + bins - 1;
  for (; bin > group * bins; --bin) {
    uvec2 with_bin = add64(above, bin_weight(bin));
    if (!less64(with_bin, wanted)) break;
    above = with_bin;
  }
  return bin;
}

void sum_groups(uint lane) {
  for (uint group = lane; group < BIN_GROUPS; group += LANES) {
    uvec2 sum = uvec2(0);
    for (uint i = 0; i < 256 / BIN_GROUPS; ++i) sum = add64(sum, bin_weight(group * (256 / BIN_GROUPS) + i));
    group_weight[group] = sum;
  }
  barrier();
}

// The largest key such that tokens with it or above reach `wanted` (a count, or a weight), 8 bits at a time; only tokens
// at or above `floor_key`, which is not 0, count. Leaves it in threshold_key and what lies above it in `above`.
void find_threshold(uint lane, uvec2 wanted, bool weigh, uint floor_key, float best) {
  uint prefix = 0;
  if (lane == 0) above = uvec2(0);
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (uint i = lane; i < 256; i += LANES) { bin_count[i] = 0; bin_high[i] = 0; }
    barrier();
    for (uint i = lane; i < p.vocab; i += 4 * LANES) {
      uvec4 keys = keys_at(i, LANES, p.vocab);
      [[unroll]] for (uint j = 0; j < 4; ++j) {
        uint k = keys[j];
        if (k >= floor_key && (shift == 24 || k >> (shift + 8) == prefix)) {
          uint bin = k >> shift & 255, w = weigh ? weight_of(k, best) : 1;
          atomicAdd(bin_count[bin], w & 0x3fffu);
          if (weigh) atomicAdd(bin_high[bin], w >> 14);
        }
      }
    }
    barrier();
    sum_groups(lane);
    if (lane == 0) threshold_key = prefix << 8 | find_bin(wanted);
    barrier();
    prefix = threshold_key;
  }
}

// Weight of a token if it is kept; 0 is no token's key, but a threshold that keeps all. ties: equal keys seen before it.
uint kept_weight(uint key, float best, uint threshold, uint max_ties, inout uint ties) {
  bool keep = key > threshold;
  if (key == threshold && key != 0) keep = ties++ < max_ties;
  return keep ? weight_of(key, best) : 0;
}

// Weights of all kept tokens, in id order: sums per lane, each lane owning consecutive ids. Returns the sum of all, and
// leaves those of lanes up to each in lane_low and lane_high; own: this lane's.
uvec2 weigh_all(uint lane, uint first, uint end, float best, uint threshold, uint max_ties, out uint ties_before, out uvec2 own) {
  uint ties = 0;
  for (uint i = first; threshold != 0 && i < end; i += 4) {
    uvec4 keys = keys_at(i, 1, end);
    [[unroll]] for (uint j = 0; j < 4; ++j) ties += uint(keys[j] == threshold);
  }
  lane_id[lane] = ties;
  barrier();
  ties_before = 0;
  for (uint other = 0; threshold != 0 && other < lane; ++other) ties_before += lane_id[other];
  own = uvec2(0);
  ties = ties_before;
  for (uint i = first; i < end; i += 4) {
    uvec4 keys = keys_at(i, 1, end);
    [[unroll]] for (uint j = 0; j < 4; ++j) own = add64(own, uvec2(kept_weight(keys[j], best, threshold, max_ties, ties), 0));
  }
  uvec2 sum = own;
  for (uint step = 1; step < LANES; step *= 2) {
    lane_low[lane] = sum.x;
    lane_high[lane] = sum.y;
    barrier();
    if (lane >= step) sum = add64(sum, uvec2(lane_low[lane - step], lane_high[lane - step]));
    barrier();
  }
  lane_low[lane] = sum.x;
  lane_high[lane] = sum.y;
  barrier();
  return uvec2(lane_low[LANES - 1], lane_high[LANES - 1]);
}

void draw(uint lane) {
  float best = key_value(threshold_key);
  // Below this a weight is 0: exp(-24) WEIGHT_ONE < 0.5, with room for what the subtraction rounds.
  uint least = order_key(best - 24.0 * rule.temperature);
  uint n_own = (p.vocab + LANES - 1) / LANES, first = min(lane * n_own, p.vocab), end = min(first + n_own, p.vocab);
  uint threshold = 0, max_ties = 0xffffffffu, ties_before;
  uvec2 own;
  barrier();
  if (rule.top_k > 0 && rule.top_k < p.vocab) {
    find_threshold(lane, uvec2(rule.top_k, 0), false, least, best);
    threshold = threshold_key;
    max_ties = rule.top_k - above.x;
    barrier();
  }
  uvec2 total = weigh_all(lane, first, end, best, threshold, max_ties, ties_before, own);
  if (rule.top_p < 1.0) {
    uvec2 wanted = scale64(total, uint(clamp(rule.top_p, 0.0, 0.99999994) * 4294967296.0));
    if (wanted == uvec2(0)) wanted = uvec2(1, 0);
    find_threshold(lane, wanted, true, max(threshold, least), best);
    uint most_ties = threshold_key == threshold ? max_ties : p.vocab;
    uint w = max(weight_of(threshold_key, best), 1), ties = 1;
    uvec2 rest = sub64(wanted, above), sum = uvec2(w, 0);
    while (ties < most_ties && less64(sum, rest)) { sum = add64(sum, uvec2(w, 0)); ++ties; }
    max_ties = ties;
    threshold = threshold_key;
    barrier();
    total = weigh_all(lane, first, end, best, threshold, max_ties, ties_before, own);
  }
  uvec2 target = scale64(total, philox(uvec4(step_state.next, 0, 0, 0), uvec2(rule.seed_low, rule.seed_high)).x);
  uvec2 after = uvec2(lane_low[lane], lane_high[lane]), before = sub64(after, own);
  if (!less64(target, before) && less64(target, after)) {
    uint ties = ties_before;
    for (uint i = first; i < end && !less64(target, before); ++i) {
      before = add64(before, uvec2(kept_weight(order_key(adjusted[i]), best, threshold, max_ties, ties), 0));
      if (less64(target, before)) found = i;
    }
  }
  barrier();
}

void main() {
  uint lane = gl_LocalInvocationID.x;
  penalize(lane);
  find_best(lane);
  if (rule.temperature > 0.0) draw(lane);
  if (lane == 0) {
    history[step_state.next % HISTORY] = found;
    tokens[0] = found;
    ring[step_state.sampled % SAMPLE_RING] = found;
    step_state.sampled++;
  }
}
