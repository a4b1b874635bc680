// MXFP4: E2M1 in one quad, an exponent in the tail. value = 2^(exponent - 127) * E2M1. Scales below 2^-126 may be
// flushed to zero; with E2M1_BY_HALVES none above 2^113 is told from it: 2^14 times that is the largest power of two.
#include "quant/tables.glsl"
struct Block { uvec4 q; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint e = load_word(tail + (block >> 2) * TILE_ROWS + row) >> (block & 3) * 8 & 255;
  float scale = uintBitsToFloat(E2M1_BY_HALVES ? min(e + 14, 254u) << 23 : e < 2 ? 0x00200000u << e : (e - 1) << 23);
  return Block(load_quad(row_quads(tile, block, 1, row)), scale);
}
vec4 block_values(Block b, uint i) { return b.scale * e2m1_times(b.q, i); }
#define INT8_SCALES 1
uint int8_values(Block b, uint i) { return e2m1_bytes(b.q, i); }
#define OWN_UNITS
vec4 block_units(Block b, uint i) { return e2m1_times(b.q, i); }
vec4 unit_places(uint i) { return vec4(1 / E2M1_INTEGER); }
vec2 int8_scales(Block b) { return vec2(b.scale * E2M1_INTEGER); }
