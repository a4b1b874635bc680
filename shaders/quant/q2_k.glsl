// Q2_K: five quads for 256 values: four of pairs, one of scales and minima of 16 values each; their fp16 factors in
// the tail. value = scale * pair - minimum.
struct Block { uvec2 q; vec2 scales, minima; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block >> 3, 5, row), sub = block & 7;
  uint both = load_word((first + 4 * STRIP_ROWS) * 4 + (sub >> 1)) >> (sub & 1) * 16;
  vec2 factors = half2_to_float(load_word(tail + (block >> 3) * TILE_ROWS + row));
  precise vec2 scales = factors.x * vec2(both & 15, both >> 8 & 15);
  precise vec2 minima = factors.y * vec2(both >> 4 & 15, both >> 12 & 15);
  return Block(half_quad(load_quad(first + (sub >> 1) * STRIP_ROWS), sub & 1), scales, minima);
}
vec4 block_values(Block b, uint i) { return scaled_less(b.scales[i >> 2], bytes(pairs(b.q, i)), b.minima[i >> 2]); }
#define INT8_SCALES 2
#define INT8_MINIMA
uint int8_values(Block b, uint i) { return pairs(b.q, i); }
vec2 int8_scales(Block b) { return b.scales; }
vec2 int8_minima(Block b) { return b.minima; }
