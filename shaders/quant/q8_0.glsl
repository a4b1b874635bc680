// Q8_0: 32 signed bytes in two quads, one fp16 scale in the tail. value = scale * byte.
struct Block { uvec4 q[2]; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  Block b;
  [[unroll]] for (uint i = 0; i < 2; ++i) b.q[i] = load_quad(row_quads(tile, block, 2, row) + i * STRIP_ROWS);
  vec2 scales = half2_to_float(load_word(tail + (block >> 1) * TILE_ROWS + row));
  b.scale = (block & 1) == 0 ? scales.x : scales.y;
  return b;
}
vec4 block_values(Block b, uint i) { return scaled_signed_bytes(b.scale, b.q[i >> 2][i & 3]); }
#define INT8_SCALES 1
uint int8_values(Block b, uint i) { return b.q[i >> 2][i & 3]; }
vec2 int8_scales(Block b) { return vec2(b.scale); }
