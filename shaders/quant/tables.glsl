// Values that four bits stand for, for the four bytes of a word (loader/formats/tables.h). Constants and shifts: an
// array would become memory.
uvec4 four_bytes(uint w) { return uvec4(w & 255, w >> 8 & 255, w >> 16 & 255, w >> 24); }

// E2M1 as loader/formats/pack.h has it lie: values 2 pair, 2 pair + 1 as fp16 with the same bits, 2^-14 times E2M1.
uint e2m1_halves(uvec4 q, uint pair) {
  uint w = q[pair >> 2], n = pair & 3;
  return n < 2 ? w << n * 3 & 0x8e008e00u : w << n * 3 & 0x0e000e00u | w << n - 1 & 0x80008000u;
}
// Whether unpackHalf2x16 takes them. It keeps minus zero, which is zero in the table: with SUMMED defined it may:
// a sum does not show it.
#ifdef SUMMED
#define E2M1_BY_HALVES (EXACT_HALVES != 0)
#else
#define E2M1_BY_HALVES false
#endif
// 2^-14 times values 4i .. 4i + 3 with E2M1_BY_HALVES, else twice these.
vec4 e2m1_times(uvec4 q, uint i) {
  uvec2 halves = uvec2(e2m1_halves(q, 2 * i), e2m1_halves(q, 2 * i + 1));
  if (E2M1_BY_HALVES) return vec4(unpackHalf2x16(halves.x), unpackHalf2x16(halves.y));
  uvec4 at = uvec4(halves.x >> 7, halves.x >> 23, halves.y >> 7, halves.y >> 23) & 28u;  // four bits each
  ivec4 minus = ivec4(halves.x << 16, halves.x, halves.y << 16, halves.y) >> 31;
  ivec4 magnitude = ivec4(bitfieldExtract(0xc8643210u, int(at.x), 4), bitfieldExtract(0xc8643210u, int(at.y), 4),
                          bitfieldExtract(0xc8643210u, int(at.z), 4), bitfieldExtract(0xc8643210u, int(at.w), 4));
  return vec4((magnitude ^ minus) - minus);
}

ivec4 iq4_integers(uint w) {
  uvec4 q = four_bytes(w);
  bvec4 upper = notEqual(q & 4u, uvec4(0));
  uvec4 low = mix(uvec4(0xbfad9881u), uvec4(0xf6eaddcfu), upper);
  uvec4 high = mix(uvec4(0x26190d01u), uvec4(0x71594535u), upper);
  uvec4 word = mix(low, high, greaterThan(q, uvec4(7)));
  return ivec4(word << (24u - (q & 3u) * 8u)) >> 24;
}
vec4 iq4_levels(uint w) { return vec4(iq4_integers(w)); }

// The same as the four bytes of a word.
uint iq4_bytes(uint w) {
  uvec4 b = uvec4(iq4_integers(w)) & 255u;
  return b.x | b.y << 8 | b.z << 16 | b.w << 24;
}

// Twice values 4i .. 4i + 3 as the four bytes of a word; E2M1_INTEGER times what e2m1_times() is scaled by is their scale.
#define E2M1_INTEGER (E2M1_BY_HALVES ? 1.0 / 32768 : 1.0)
// Magnitudes 0 1 2 3 4 5 6 7 stand for 0 1 2 3 4 6 8 12, which is 0 1 2 5 more than four. All four bytes at once; none carries.
uint e2m1_bytes(uvec4 q, uint i) {
  uint a = e2m1_halves(q, 2 * i), b = e2m1_halves(q, 2 * i + 1), ones = 0x01010101u;
  uint magnitude = a >> 9 & 7 | a >> 17 & 0x700 | b << 7 & 0x70000 | b >> 1 & 0x7000000, low = magnitude & 0x03030303u;
  uint signs = a >> 15 & 1 | a >> 23 & 0x100 | b << 1 & 0x10000 | b >> 7 & 0x1000000;
  uint more = low + ((low & low >> 1 & ones) << 1);
  uint value = magnitude + (more & (magnitude >> 2 & ones) * 7);
  uint minus = signs & (magnitude | magnitude >> 1 | magnitude >> 2) & ones;  // not of zero
  return (value ^ minus * 255) + minus;
}
