// Q5_0: nibbles in one quad, fp16 scale and fifth bits in the tail. value = scale * (q - 16).
struct Block { uvec4 q; uint high; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  // 6 bytes: from the lower half of a word on in even blocks, from the upper half on in odd ones.
  uint at = tail + (block * 3 >> 1) * TILE_ROWS + row, first = load_word(at), second = load_word(at + TILE_ROWS);
  bool even = (block & 1) == 0;
  uint scale = even ? first & 0xffffu : first >> 16, high = even ? first >> 16 | second << 16 : second;
  return Block(load_quad(row_quads(tile, block, 1, row)), high, half_to_float(scale));
}
vec4 block_values(Block b, uint i) {
  return b.scale * (bytes(nibbles(b.q, i) | bits(b.high, i) << 4) - 16.0);
}
#define INT8_SCALES 1
uint int8_values(Block b, uint i) { return bytes_less(nibbles(b.q, i) | bits(b.high, i) << 4, 16); }
vec2 int8_scales(Block b) { return vec2(b.scale); }
