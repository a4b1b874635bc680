// Orders floats as unsigned integers: NaN and minus infinity lowest, -0 equal to +0. Never 0, which is free to mean "out".
// On bits, since compilers may assume that there is no NaN.
uint order_key(float v) {
  uint bits = floatBitsToUint(v), magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) bits = 0xff800000u;
  if (magnitude == 0) bits = 0;
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
float key_value(uint k) { return uintBitsToFloat((k & 0x80000000u) != 0 ? k & 0x7fffffffu : ~k); }
