// Merging of softmax partial results in block order (online softmax, Milakov & Gimelshein 2018): a block brings its
// maximum m, the sum l of exp(score - m) and the so weighted sum o of values. One text for all kernels: equal bits.
struct Running { float m, l; };  // starts at m = -infinity, l = 0
#define MINUS_INFINITY uintBitsToFloat(0xff800000u)

// Factors for what was summed so far and for the new block; the block's m is finite.
vec2 merge_factors(inout Running r, float m, float l) {
  precise float new_m = max(r.m, m);
  precise float old_factor = r.m == MINUS_INFINITY ? 0.0 : exp(r.m - new_m);
  precise float new_factor = exp(m - new_m);
  precise float new_l = fma(l, new_factor, r.l * old_factor);
  r.m = new_m;
  r.l = new_l;
  return vec2(old_factor, new_factor);
}
vec4 merge_values(vec4 sum, vec4 block, vec2 factors) {
  precise vec4 merged = fma(block, vec4(factors.y), sum * factors.x);
  return merged;
}
