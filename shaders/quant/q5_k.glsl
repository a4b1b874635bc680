// Q5_K: eleven quads for 256 values: eight of nibbles, two of fifth bits, one of scales and minima.
// value = scale * q - minimum.
#include "quant/k_scales.glsl"
struct Block { uvec4 q; uint high; vec2 scales; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block >> 3, 11, row), sub = block & 7;
  uint high = load_word((first + (8 + (sub >> 2)) * STRIP_ROWS) * 4 + (sub & 3));
  return Block(load_quad(first + sub * STRIP_ROWS), high, k_scales(load_quad(first + 10 * STRIP_ROWS), sub));
}
vec4 block_values(Block b, uint i) {
  return scaled_less(b.scales.x, bytes(nibbles(b.q, i) | bits(b.high, i) << 4), b.scales.y);
}
#define INT8_SCALES 1
#define INT8_MINIMA
uint int8_values(Block b, uint i) { return nibbles(b.q, i) | bits(b.high, i) << 4; }
vec2 int8_scales(Block b) { return b.scales.xx; }
vec2 int8_minima(Block b) { return b.scales.yy; }
