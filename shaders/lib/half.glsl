// fp16 to float32, exact also for denormals, which unpackHalf2x16 may flush to zero.
// Shifts the exponent and mantissa into float32's place and multiplies by 2^112: a normal product, denormals included.
float half_to_float(uint h) {
  uint sign = (h & 0x8000u) << 16, magnitude = (h & 0x7fffu) << 13;
  uint special = magnitude >= 0x0f800000u ? 0x7f800000u | magnitude : 0u;  // infinity and NaN
  float value = magnitude < 0x00800000u ? float(h & 0x3ffu) * 5.9604644775390625e-8  // 2^-24
                                        : uintBitsToFloat(magnitude + 0x38000000u);
  return uintBitsToFloat(sign | (special != 0u ? special : floatBitsToUint(value)));
}
vec2 half2_to_float(uint w) { return vec2(half_to_float(w & 0xffffu), half_to_float(w >> 16)); }
