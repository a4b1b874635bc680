// fp16 to float32, exact also for denormals, which unpackHalf2x16 may flush to zero. Selections, not branches: some
// compilers take minutes over a kernel with hundreds of small branches.
vec2 halves_to_floats(uvec2 h) {
  uvec2 magnitude = (h & 0x7fffu) << 13;  // exponent and mantissa in float32's place
  vec2 denormal = vec2(h & 0x3ffu) * 5.9604644775390625e-8;  // 2^-24
  uvec2 value = mix(magnitude + 0x38000000u, floatBitsToUint(denormal), lessThan(magnitude, uvec2(0x00800000u)));
  value = mix(value, magnitude | 0x7f800000u, greaterThanEqual(magnitude, uvec2(0x0f800000u)));  // infinity and NaN
  return uintBitsToFloat(value | (h & 0x8000u) << 16);
}
float half_to_float(uint h) { return halves_to_floats(uvec2(h)).x; }
vec2 half2_to_float(uint w) { return halves_to_floats(uvec2(w & 0xffffu, w >> 16)); }
