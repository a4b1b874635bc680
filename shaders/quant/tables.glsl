// Values that four bits stand for, for the four bytes of a word (loader/formats/tables.h). Constants and shifts: an
// array would become memory.
uvec4 four_bytes(uint w) { return uvec4(w & 255, w >> 8 & 255, w >> 16 & 255, w >> 24); }

// E2M1 as loader/formats/pack.h has it lie: values 4i, 4i + 2 and 4i + 1, 4i + 3 as fp16 with the same bits, 2^-14 times
// E2M1.
uvec2 e2m1_halves(uvec4 q, uint i) {
  uint w = q[i >> 1];
  if ((i & 1) == 0) return uvec2(w << 8, w) & 0x8e008e00u;
  return uvec2(w << 5, w >> 3) & 0x0e000e00u | uvec2(w << 15, w << 7) & 0x80008000u;
}
// Whether unpackHalf2x16 takes them: with SUMMED defined, since it costs the largest scales (mxfp4.glsl).
#ifdef SUMMED
#define E2M1_BY_HALVES (EXACT_HALVES != 0)
#else
#define E2M1_BY_HALVES false
#endif
// 2^-14 times values 4i .. 4i + 3 with E2M1_BY_HALVES, else twice these.
vec4 e2m1_times(uvec4 q, uint i) {
  uvec2 halves = e2m1_halves(q, i);
  if (E2M1_BY_HALVES) {
    vec2 even = unpackHalf2x16(halves.x), odd = unpackHalf2x16(halves.y);
    return vec4(even.x, odd.x, even.y, odd.y);
  }
  uvec4 at = uvec4(halves >> 7, halves >> 23) & 28u;  // four bits each
  ivec4 minus = ivec4(halves << 16, halves) >> 31;
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
// Magnitudes 0 1 2 3 4 5 6 7 stand for 0 1 2 3 4 6 8 12: the upper four for their low two bits more, and the last for 2
// more. All eight of a word at once, four bits each; none carries. A minus inverts seven bits of a byte and adds 1 and 128;
// no zero has one.
uint e2m1_bytes(uvec4 q, uint i) {
  uint w = q[i >> 1], magnitudes = w >> 1 & 0x07070707u | w & 0x70707070u, upper = magnitudes & 0x44444444u;
  uint more = magnitudes & upper - (upper >> 2), values = magnitudes + more + (more & more << 1);
  uint value = ((i & 1) == 0 ? values : values >> 4) & 0x0f0f0f0fu;
  uint ones = w & 0x01010101u, minus = (i & 1) == 0 ? w & 0x80808080u : ones << 7, one = (i & 1) == 0 ? minus >> 7 : ones;
  return (value ^ minus - one) + (one + minus);
}
