// Q4_0: 32 nibbles in one quad (low nibbles are values 0-15, high ones 16-31), one fp16 scale in the tail.
// value = scale * (nibble - 8).
#define BLOCK_ELEMS 32
#define BLOCK_QUADS 1
struct Block { uvec4 q; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  Block b;
  b.q = quads[tile + block * 32 + row];
  vec2 scales = half2_to_float(words[tail + (block >> 1) * 32 + row]);
  b.scale = (block & 1) == 0 ? scales.x : scales.y;
  return b;
}
vec4 block_values(Block b, uint i) {
  uint w = b.q[i & 3] >> (i & 4);
  return b.scale * (vec4(w & 15, w >> 8 & 15, w >> 16 & 15, w >> 24 & 15) - 8.0);
}
