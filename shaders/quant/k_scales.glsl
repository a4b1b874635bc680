// Scale and minimum of 32 values of Q4_K and Q5_K, from the quad of 256 values: d and dmin (fp16), then 12 bits for
// each 32 values (KScales::pack).
vec2 k_scales(uvec4 quad, uint sub) {
  uint low = (sub < 4 ? quad.y : quad.z) >> (sub & 3) * 8 & 255, high = quad.w >> sub * 4 & 15;
  precise vec2 scales = half2_to_float(quad.x) * vec2(low & 63, low >> 6 | high << 2);
  return scales;
}
