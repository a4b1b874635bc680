// IQ2_S: half a quad for 32 values: the low bits of four codebook entries (8 values each), signs; a fifth quad for
// 256 values with the entries' high bits and 4-bit scales of 16 values each; an fp16 scale in the tail. value = +-
// scale * level.
#include "quant/codebook.glsl"
struct Block { uvec4 entries; uint signs; vec2 scales; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block >> 3, 5, row), sub = block & 7;
  uvec2 q = half_quad(load_quad(first + (sub >> 1) * STRIP_ROWS), sub & 1);
  uvec4 more = load_quad(first + 4 * STRIP_ROWS);
  uint high = (sub < 4 ? more.x : more.y) >> (sub & 3) * 8, scales = (sub < 4 ? more.z : more.w) >> (sub & 3) * 8;
  float d = half_to_float(tail_half(tail, block >> 3, row));
  uvec4 entries = entries_of(q.x) | (uvec4(high, high >> 2, high >> 4, high >> 6) & 3u) << 8;
  return Block(codebook4(entries), q.y, d * (0.5 + vec2(scales & 15, scales >> 4 & 15)) * 0.25);
}
vec4 block_values(Block b, uint i) {
  return with_signs(b.scales[i >> 2] * iq2_levels(codes(b.entries, i)), b.signs >> i * 4);
}
