// Q5_1: nibbles in one quad; fp16 scale and minimum, then fifth bits in the tail. value = scale * q + minimum.
struct Block { uvec4 q; uint high; float scale, minimum; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  vec2 scales = half2_to_float(load_word(tail + block * 2 * TILE_ROWS + row));
  return Block(load_quad(row_quads(tile, block, 1, row)), load_word(tail + (block * 2 + 1) * TILE_ROWS + row), scales.x, scales.y);
}
vec4 block_values(Block b, uint i) {
  return scaled_plus(b.scale, bytes(nibbles(b.q, i) | bits(b.high, i) << 4), b.minimum);
}
#define INT8_SCALES 1
#define INT8_MINIMA
uint int8_values(Block b, uint i) { return nibbles(b.q, i) | bits(b.high, i) << 4; }
vec2 int8_scales(Block b) { return vec2(b.scale); }
vec2 int8_minima(Block b) { return vec2(-b.minimum); }
