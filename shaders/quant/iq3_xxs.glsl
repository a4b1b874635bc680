// IQ3_XXS: half a quad for 32 values, codebook entries of 4 values each; two more quads for 256 values with signs and
// scales; an fp16 scale in the tail. value = +- scale * level.
#include "quant/codebook.glsl"
struct Block { uvec4 entries[2]; uint signs; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block >> 3, 6, row), sub = block & 7;
  uvec2 q = half_quad(load_quad(first + (sub >> 1) * STRIP_ROWS), sub & 1);
  Block b;
  b.entries[0] = codebook4(entries_of(q.x));
  b.entries[1] = codebook4(entries_of(q.y));
  b.signs = load_word((first + (4 + (sub >> 2)) * STRIP_ROWS) * 4 + (sub & 3));
  b.scale = half_to_float(tail_half(tail, block >> 3, row)) * (0.5 + float(b.signs >> 28)) * 0.5;
  return b;
}
vec4 block_values(Block b, uint i) {
  uint signs = eight_signs(b.signs >> (i >> 1) * 7 & 127) >> (i & 1) * 4;
  return with_signs(b.scale * bytes(b.entries[i >> 2][i & 3]), signs);
}
