// Q4_1: nibbles in one quad, fp16 scale and minimum in the tail. value = scale * nibble + minimum.
struct Block { uvec4 q; float scale, minimum; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  vec2 scales = half2_to_float(load_word(tail + block * TILE_ROWS + row));
  return Block(load_quad(row_quads(tile, block, 1, row)), scales.x, scales.y);
}
vec4 block_values(Block b, uint i) { return scaled_plus(b.scale, bytes(nibbles(b.q, i)), b.minimum); }
