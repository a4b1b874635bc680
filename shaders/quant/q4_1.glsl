// Q4_1: nibbles in one quad, fp16 scale and minimum in the tail. value = scale * nibble + minimum.
struct Block { uvec4 q; float scale, minimum; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  vec2 scales = half2_to_float(load_word(tail + block * TILE_ROWS + row));
  return Block(load_quad(row_quads(tile, block, 1, row)), scales.x, scales.y);
}
vec4 block_values(Block b, uint i) { return scaled_plus(b.scale, bytes(nibbles(b.q, i)), b.minimum); }
#define INT8_SCALES 1
#define INT8_MINIMA
uint int8_values(Block b, uint i) { return nibbles(b.q, i); }
#define OWN_UNITS
vec4 block_units(Block b, uint i) { return nibble_units(b.q, i); }
vec4 unit_places(uint i) { return nibble_places(i); }
vec2 int8_scales(Block b) { return vec2(b.scale); }
vec2 int8_minima(Block b) { return vec2(-b.minimum); }
