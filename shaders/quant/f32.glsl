// F32: 32 values in eight quads.
struct Block { uvec4 q[8]; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  Block b;
  [[unroll]] for (uint i = 0; i < 8; ++i) b.q[i] = load_quad(row_quads(tile, block, 8, row) + i * STRIP_ROWS);
  return b;
}
vec4 block_values(Block b, uint i) { return uintBitsToFloat(b.q[i]); }
#define WIDE_VALUES  // not values of fp16
