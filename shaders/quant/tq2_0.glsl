// TQ2_0: four quads of pairs for 256 values, an fp16 scale in the tail. value = scale * (pair - 1).
struct Block { uvec2 q; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block >> 3, 4, row), sub = block & 7;
  return Block(half_quad(load_quad(first + (sub >> 1) * STRIP_ROWS), sub & 1), half_to_float(tail_half(tail, block >> 3, row)));
}
vec4 block_values(Block b, uint i) { return b.scale * (bytes(pairs(b.q, i)) - 1.0); }
