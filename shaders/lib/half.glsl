// fp16 to float32, exact also for denormals. unpackHalf2x16 may flush those to zero; EXACT_HALVES, a constant of the including
// kernel, says that the device's was seen to be exact (half_probe.comp). No branches: some compilers take minutes over a
// kernel with hundreds of small ones.
vec2 halves_to_floats(uvec2 h, uvec2 signs) {
  uvec2 magnitude = (h & 0x7fffu) << 13;  // exponent and mantissa in float32's place
  // Right for normal values. A denormal comes out as 2^-15 + x/2, for x: twice that less 2^-14, the smaller of the two
  // for denormals alone.
  vec2 normal = uintBitsToFloat(magnitude + 0x38000000u);
  uvec2 value = floatBitsToUint(min(normal, fma(vec2(2), normal, vec2(-6.103515625e-5))));
  value = mix(value, magnitude | 0x7f800000u, greaterThanEqual(magnitude, uvec2(0x0f800000u)));  // infinity and NaN
  return uintBitsToFloat(value | signs & 0x80000000u);
}
vec2 half2_to_float(uint w) {
  return EXACT_HALVES != 0 ? unpackHalf2x16(w) : halves_to_floats(uvec2(w, w >> 16), uvec2(w << 16, w));
}
float half_to_float(uint h) { return EXACT_HALVES != 0 ? unpackHalf2x16(h).x : halves_to_floats(uvec2(h), uvec2(h << 16)).x; }
