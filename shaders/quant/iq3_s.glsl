// IQ3_S: half a quad for 32 values, codebook entries of 4 values each; two more quads for 256 values with signs; in
// the tail an fp16 scale, the entries' ninth bits, 4-bit scales of 32 values each. value = +- scale * level.
#include "quant/codebook.glsl"
struct Block { uvec4 entries[2]; uint signs; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block >> 3, 6, row), sub = block & 7, at = (block >> 3) * 7;
  uvec2 q = half_quad(load_quad(first + (sub >> 1) * STRIP_ROWS), sub & 1);
  uint high = tail_half(tail, at + 1 + (sub >> 1), row) >> (sub & 1) * 8;
  uint scale = tail_half(tail, at + 5 + (sub >> 2), row) >> (sub & 3) * 4 & 15;
  Block b;
  b.entries[0] = codebook4(entries_of(q.x) | (uvec4(high, high >> 1, high >> 2, high >> 3) & 1u) << 8);
  b.entries[1] = codebook4(entries_of(q.y) | (uvec4(high >> 4, high >> 5, high >> 6, high >> 7) & 1u) << 8);
  b.signs = load_word((first + (4 + (sub >> 2)) * STRIP_ROWS) * 4 + (sub & 3));
  b.scale = half_to_float(tail_half(tail, at, row)) * float(1 + 2 * scale);
  return b;
}
vec4 block_values(Block b, uint i) { return with_signs(b.scale * bytes(b.entries[i >> 2][i & 3]), b.signs >> i * 4); }
