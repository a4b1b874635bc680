// Q4_K: nine quads for 256 values, the last with scales and minima. value = scale * nibble - minimum.
#include "quant/k_scales.glsl"
struct Block { uvec4 q; vec2 scales; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block >> 3, 9, row), sub = block & 7;
  return Block(load_quad(first + sub * STRIP_ROWS), k_scales(load_quad(first + 8 * STRIP_ROWS), sub));
}
vec4 block_values(Block b, uint i) { return less(scaled_nibbles(b.scales.x, b.q, i), b.scales.y); }
#define INT8_SCALES 1
#define INT8_MINIMA
uint int8_values(Block b, uint i) { return nibbles(b.q, i); }
#define OWN_UNITS
vec4 block_units(Block b, uint i) { return nibble_units(b.q, i); }
vec4 unit_places(uint i) { return nibble_places(i); }
vec2 int8_scales(Block b) { return b.scales.xx; }
vec2 int8_minima(Block b) { return b.scales.yy; }
