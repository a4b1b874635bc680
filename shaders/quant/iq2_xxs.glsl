// IQ2_XXS: half a quad for 32 values: codebook entries of 8 values each; signs and scale. An fp16 scale in the tail.
// value = +- scale * level.
#include "quant/codebook.glsl"
struct Block { uvec4 entries; uint signs; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uvec2 q = half_quad(load_quad(row_quads(tile, block >> 3, 4, row) + (block >> 1 & 3) * STRIP_ROWS), block & 1);
  float d = half_to_float(tail_half(tail, block >> 3, row));
  return Block(codebook4(entries_of(q.x)), q.y, d * (0.5 + float(q.y >> 28)) * 0.25);
}
vec4 block_values(Block b, uint i) {
  uint signs = eight_signs(b.signs >> (i >> 1) * 7 & 127) >> (i & 1) * 4;
  return with_signs(b.scale * iq2_levels(codes(b.entries, i)), signs);
}
