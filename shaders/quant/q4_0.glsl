// Q4_0: nibbles in one quad, one fp16 scale in the tail. value = scale * (nibble - 8).
struct Block { uvec4 q; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  return Block(load_quad(row_quads(tile, block, 1, row)), half_to_float(tail_half(tail, block, row)));
}
vec4 block_values(Block b, uint i) { return b.scale * (bytes(nibbles(b.q, i)) - 8.0); }
#define INT8_SCALES 1
uint int8_values(Block b, uint i) { return bytes_less(nibbles(b.q, i), 8); }
vec2 int8_scales(Block b) { return vec2(b.scale); }
