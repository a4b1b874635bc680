// BF16: 32 values in four quads, two in a word; the upper half of a float32.
struct Block { uvec4 q[4]; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  Block b;
  [[unroll]] for (uint i = 0; i < 4; ++i) b.q[i] = load_quad(row_quads(tile, block, 4, row) + i * STRIP_ROWS);
  return b;
}
vec4 block_values(Block b, uint i) {
  uvec4 q = b.q[i >> 1];
  uvec2 w = (i & 1) == 0 ? q.xy : q.zw;
  return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000u, w.y << 16, w.y & 0xffff0000u));
}
#define WIDE_VALUES  // not values of fp16
