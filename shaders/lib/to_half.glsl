// float32 to fp16 in the low bits, rounded to nearest on bits, whatever rounding packHalf2x16 may have; beyond the largest
// fp16, and NaN: the largest. Denormals round to multiples of 2^-24: adding 0.5 leaves as many.
uvec4 halves_of(vec4 v) {
  uvec4 bits = floatBitsToUint(v), magnitude = min(bits & 0x7fffffffu, uvec4(0x477fe000u));
  uvec4 normal = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  uvec4 denormal = floatBitsToUint(uintBitsToFloat(magnitude) + 0.5) - 0x3f000000u;
  return mix(normal, denormal, lessThan(magnitude, uvec4(0x38800000u))) | bits >> 16 & 0x8000u;
}
uvec2 packed_halves(vec4 v) {
  uvec4 h = halves_of(v);
  return uvec2(h.x | h.y << 16, h.z | h.w << 16);
}
