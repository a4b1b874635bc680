// IQ4_NL: nibbles in one quad, one fp16 scale in the tail. value = scale * level of the nibble.
#include "quant/tables.glsl"
struct Block { uvec4 q; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  return Block(load_quad(row_quads(tile, block, 1, row)), half_to_float(tail_half(tail, block, row)));
}
vec4 block_values(Block b, uint i) { return b.scale * iq4_levels(nibbles(b.q, i)); }
#define INT8_SCALES 1
uint int8_values(Block b, uint i) { return iq4_bytes(nibbles(b.q, i)); }
#define OWN_UNITS
vec4 block_units(Block b, uint i) { return iq4_levels(nibbles(b.q, i)); }
vec4 unit_places(uint i) { return vec4(1); }
vec2 int8_scales(Block b) { return vec2(b.scale); }
