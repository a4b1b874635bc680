// tanh to a few units in the last place whatever its size: Vulkan's own may lose all digits of a small one. Below 1 Lambert's
// continued fraction (off by less than 2^-38 there), above 1 from the exponential function.
float tanh_of(float v) {
  float s = min(v * v, 1.0), e = exp(min(2.0 * abs(v), 80.0));
  precise float small = v * fma(s, fma(s, s + 378.0, 17325.0), 135135.0) / fma(s, fma(s, fma(s, 28.0, 3150.0), 62370.0), 135135.0);
  precise float large = sign(v) * (1.0 - 2.0 / (e + 1.0));
  return abs(v) < 1.0 ? small : large;
}
