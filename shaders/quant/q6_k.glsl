// Q6_K: thirteen quads for 256 values: eight of nibbles, four of high pairs, one of int8 scales of 16 values each; an
// fp16 scale in the tail. value = scale * (q - 32).
struct Block { uvec4 q; uvec2 high; vec2 scales; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block >> 3, 13, row), sub = block & 7;
  uint scales = load_word((first + 12 * STRIP_ROWS) * 4 + (sub >> 1)) >> (sub & 1) * 16;
  float d = half_to_float(tail_half(tail, block >> 3, row));
  return Block(load_quad(first + sub * STRIP_ROWS), half_quad(load_quad(first + (8 + (sub >> 1)) * STRIP_ROWS), sub & 1),
               d * signed_bytes(scales));
}
vec4 block_values(Block b, uint i) {
  return b.scales[i >> 2] * (bytes(nibbles(b.q, i) | pairs(b.high, i) << 4) - 32.0);
}
#define INT8_SCALES 2
uint int8_values(Block b, uint i) { return bytes_less(nibbles(b.q, i) | pairs(b.high, i) << 4, 32); }
vec2 int8_scales(Block b) { return b.scales; }
