// IQ2_XS: half a quad for 32 values: four times 9 bits of codebook entry (8 values) and 7 signs. In the tail an fp16
// scale and 4-bit scales of 16 values each. value = +- scale * level.
#include "quant/codebook.glsl"
struct Block { uvec4 entries, signs; vec2 scales; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uvec2 q = half_quad(load_quad(row_quads(tile, block >> 3, 4, row) + (block >> 1 & 3) * STRIP_ROWS), block & 1);
  uint at = (block >> 3) * 5, sub = block & 7;
  uint scales = tail_half(tail, at + 1 + (sub >> 1), row) >> (sub & 1) * 8;
  float d = half_to_float(tail_half(tail, at, row));
  uvec4 halves = uvec4(q.x & 0xffffu, q.x >> 16, q.y & 0xffffu, q.y >> 16);
  return Block(codebook4(halves & 511u), halves >> 9, d * (0.5 + vec2(scales & 15, scales >> 4 & 15)) * 0.25);
}
vec4 block_values(Block b, uint i) {
  return with_signs(b.scales[i >> 2] * iq2_levels(codes(b.entries, i)), eight_signs(b.signs[i >> 1]) >> (i & 1) * 4);
}
