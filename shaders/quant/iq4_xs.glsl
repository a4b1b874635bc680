// IQ4_XS: eight quads of nibbles for 256 values; in the tail an fp16 scale, the high 2 and the low 4 bits of eight
// scales. value = scale * level of the nibble.
#include "quant/tables.glsl"
struct Block { uvec4 q; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint at = tail + (block >> 3) * 2 * TILE_ROWS + row, sub = block & 7;
  uint first = load_word(at), low = load_word(at + TILE_ROWS) >> sub * 4 & 15, high = first >> (16 + sub * 2) & 3;
  uvec4 q = load_quad(row_quads(tile, block >> 3, 8, row) + sub * STRIP_ROWS);
  return Block(q, half_to_float(first & 0xffffu) * (float(low | high << 4) - 32.0));
}
vec4 block_values(Block b, uint i) { return b.scale * iq4_levels(nibbles(b.q, i)); }
#define INT8_SCALES 1
uint int8_values(Block b, uint i) { return iq4_bytes(nibbles(b.q, i)); }
#define OWN_UNITS
vec4 block_units(Block b, uint i) { return iq4_levels(nibbles(b.q, i)); }
vec4 unit_places(uint i) { return vec4(1); }
vec2 int8_scales(Block b) { return vec2(b.scale); }
