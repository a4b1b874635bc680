// Small integers packed as in loader/formats/pack.h: values 4i .. 4i + 3 as the four bytes of a word.
uint nibbles(uvec4 q, uint i) { return q[i & 3] >> (i & 4) & 0x0f0f0f0fu; }
uint pairs(uvec2 q, uint i) { return q[i & 1] >> (i & 6) & 0x03030303u; }
uint bits(uint q, uint i) { return q >> i & 0x01010101u; }

vec4 bytes(uint w) { return vec4(w & 255, w >> 8 & 255, w >> 16 & 255, w >> 24); }
vec2 signed_bytes(uint w) { return vec2(int(w << 24) >> 24, int(w << 16) >> 24); }

// The 16 bits at 2 * at bytes from the beginning of a row's tail; halves of a quad.
uint tail_half(uint tail, uint at, uint row) { return load_word(tail + (at >> 1) * TILE_ROWS + row) >> (at & 1) * 16 & 0xffffu; }
uvec2 half_quad(uvec4 quad, uint second) { return second == 0 ? quad.xy : quad.zw; }

// Not a * b - c in one rounding, whatever the compiler would like.
vec4 scaled_less(float scale, vec4 q, float minimum) {
  precise vec4 product = scale * q;
  precise vec4 value = product - minimum;
  return value;
}
vec4 scaled_plus(float scale, vec4 q, float minimum) {
  precise vec4 product = scale * q;
  precise vec4 value = product + minimum;
  return value;
}

// Flips the signs of values whose bit is set.
vec4 with_signs(vec4 values, uint signs) {
  uvec4 flip = uvec4(signs << 31, signs << 30, signs << 29, signs << 28) & 0x80000000u;
  return uintBitsToFloat(floatBitsToUint(values) ^ flip);
}
// Seven signs of eight; the number of minuses is even.
uint eight_signs(uint seven) { return seven | uint(bitCount(seven) & 1) << 7; }
