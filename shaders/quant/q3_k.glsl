// Q3_K: six quads for 256 values: four of pairs, two of third bits; in the tail an fp16 scale and 6-bit scales of 16
// values each. value = scale * (q - 4).
struct Block { uvec2 q; uint high; vec2 scales; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block >> 3, 6, row), sub = block & 7, at = (block >> 3) * 7;
  uint low8 = tail_half(tail, at + 1 + (sub >> 1), row) >> (sub & 1) * 8 & 255;
  uint high4 = tail_half(tail, at + 5 + (sub >> 2), row) >> (sub & 3) * 4 & 15;
  float d = half_to_float(tail_half(tail, at, row));
  vec2 scales = d * (vec2(low8 & 63, low8 >> 6 | high4 << 2) - 32.0);
  uint third = load_word((first + (4 + (sub >> 2)) * STRIP_ROWS) * 4 + (sub & 3));
  return Block(half_quad(load_quad(first + (sub >> 1) * STRIP_ROWS), sub & 1), third, scales);
}
vec4 block_values(Block b, uint i) {
  return b.scales[i >> 2] * (bytes(pairs(b.q, i) | bits(b.high, i) << 2) - 4.0);
}
#define INT8_SCALES 2
uint int8_values(Block b, uint i) { return bytes_less(pairs(b.q, i) | bits(b.high, i) << 2, 4); }
vec2 int8_scales(Block b) { return b.scales; }
