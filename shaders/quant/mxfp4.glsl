// MXFP4: nibbles in one quad, an exponent in the tail. value = 2^(exponent - 128) * twice E2M1. Scales below 2^-126
// may be flushed to zero.
#include "quant/tables.glsl"
struct Block { uvec4 q; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint e = load_word(tail + (block >> 2) * TILE_ROWS + row) >> (block & 3) * 8 & 255;
  return Block(load_quad(row_quads(tile, block, 1, row)), uintBitsToFloat(e < 2 ? 0x00200000u << e : (e - 1) << 23));
}
vec4 block_values(Block b, uint i) { return b.scale * e2m1_doubled(nibbles(b.q, i)); }
