// Small integers packed as in loader/formats/pack.h: values 4i .. 4i + 3 as the four bytes of a word.
const float exp2_4 = 0.0625, exp2_8 = 0.00390625, exp2_12 = exp2_8 * exp2_4, exp2_16 = exp2_8 * exp2_8, exp2_20 = exp2_16 * exp2_4,
            exp2_24 = exp2_16 * exp2_8;  // 2^-4 ...
uint nibbles(uvec4 q, uint i) { return q[i & 3] >> (i & 4) & 0x0f0f0f0fu; }
uint pairs(uvec2 q, uint i) { return q[i & 1] >> (i & 6) & 0x03030303u; }
uint bits(uint q, uint i) { return q >> i & 0x01010101u; }

// Four bytes below 128, each less the same number below 128, as signed bytes.
uint bytes_less(uint w, uint number) { return w + (128 - number) * 0x01010101u ^ 0x80808080u; }

vec4 bytes(uint w) { return vec4(w & 255, w >> 8 & 255, w >> 16 & 255, w >> 24); }
vec4 scaled_signed_bytes(float scale, uint w) {
  int v = int(w);
  return scale * vec4(v << 24 >> 24, v << 16 >> 24, v << 8 >> 24, v >> 24);
}
vec4 scaled_nibbles(float scale, uvec4 q, uint i) {
  precise vec4 products = scale * bytes(nibbles(q, i));
  return products;
}

// A processor has no instruction that takes a byte out of a word, so there the byte stays in its place: the four signed bytes of
// a word times 2^24; and the nibbles that are values 4i .. 4i + 3 times a power of two each, of which nibble_places() is the
// inverse.
vec4 signed_byte_units(uint w) { return vec4(ivec4(uvec4(w << 24, w << 16, w << 8, w) & 0xff000000u)); }
vec4 nibble_units(uvec4 q, uint i) {
  uint w = q[i & 3];
  bool upper = (i & 4) != 0;
  return vec4(ivec4(upper ? uvec4(w & 0xf0, w & 0xf000, w & 0xf00000, w >> 4 & 0xf000000) : w & uvec4(0xf, 0xf00, 0xf0000, 0xf000000)));
}
vec4 nibble_places(uint i) {
  return (i & 4) != 0 ? vec4(exp2_4, exp2_12, exp2_20, exp2_24) : vec4(1, exp2_8, exp2_16, exp2_24);
}

vec2 signed_bytes(uint w) { return vec2(int(w << 24) >> 24, int(w << 16) >> 24); }

// The 16 bits at 2 * at bytes from the beginning of a row's tail; halves of a quad.
uint tail_half(uint tail, uint at, uint row) { return load_word(tail + (at >> 1) * TILE_ROWS + row) >> (at & 1) * 16 & 0xffffu; }
uvec2 half_quad(uvec4 quad, uint second) { return second == 0 ? quad.xy : quad.zw; }

// Not a * b - c in one rounding, whatever the compiler would like.
vec4 less(vec4 product, float minimum) {
  precise vec4 exact = product, value = exact - minimum;
  return value;
}
vec4 scaled_less(float scale, vec4 q, float minimum) {
  precise vec4 product = scale * q;
  return less(product, minimum);
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
