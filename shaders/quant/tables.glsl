// Values that four bits stand for, for the four bytes of a word (loader/formats/tables.h). Constants and shifts: an
// array would become memory.
uvec4 four_bytes(uint w) { return uvec4(w & 255, w >> 8 & 255, w >> 16 & 255, w >> 24); }

// Twice E2M1, where minus zero is zero, as in the table. With SUMMED defined it may stay: a sum does not show it.
#define E2M1_PAIR(two) unpackHalf2x16((two & 0x00070007u) << 9 | (two & 0x00080008u) << 12)
vec4 e2m1_doubled(uint w) {
#ifdef SUMMED
  if (EXACT_HALVES != 0) {  // fp16 with the same three bits is 2^-14 times E2M1
    vec2 even = E2M1_PAIR(w), odd = E2M1_PAIR((w >> 8));
    return vec4(even.x, odd.x, even.y, odd.y) * 32768.0;
  }
#endif
  uvec4 at = uvec4(w << 2, w >> 6, w >> 14, w >> 22) & 28u;  // four bits for each magnitude
  int v = int(w);
  ivec4 minus = ivec4(bitfieldExtract(v, 3, 1), bitfieldExtract(v, 11, 1), bitfieldExtract(v, 19, 1), bitfieldExtract(v, 27, 1));
  ivec4 magnitude = ivec4(bitfieldExtract(0xc8643210u, int(at.x), 4), bitfieldExtract(0xc8643210u, int(at.y), 4),
                          bitfieldExtract(0xc8643210u, int(at.z), 4), bitfieldExtract(0xc8643210u, int(at.w), 4));
  return vec4((magnitude ^ minus) - minus);
}

vec4 iq4_levels(uint w) {
  uvec4 q = four_bytes(w);
  bvec4 upper = notEqual(q & 4u, uvec4(0));
  uvec4 low = mix(uvec4(0xbfad9881u), uvec4(0xf6eaddcfu), upper);
  uvec4 high = mix(uvec4(0x26190d01u), uvec4(0x71594535u), upper);
  uvec4 word = mix(low, high, greaterThan(q, uvec4(7)));
  return vec4(ivec4(word << (24u - (q & 3u) * 8u)) >> 24);
}
