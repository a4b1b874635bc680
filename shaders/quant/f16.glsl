// F16: 32 values in four quads, two in a word. unpackHalf2x16 may flush denormals, so they are made by hand. With STORAGE16 defined
// the device loads fp16, and its conversion was seen to be exact (half_probe.comp).
#ifdef STORAGE16
layout(binding = 0) readonly buffer Halves { f16vec4 halves[]; };
// Where the first and the second half of its quads begin. Not one and the same plus 1: Mesa's compiler for Adreno would load both
// halves at once as words, and take each number out of one.
struct Block { uint first, second; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block, 4, row) * 2;
  return Block(first, first | 1);
}
vec4 block_values(Block b, uint i) { return vec4(halves[((i & 1) == 0 ? b.first : b.second) + (i >> 1) * (2 * STRIP_ROWS)]); }
#else
struct Block { uvec4 q[4]; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  Block b;
  [[unroll]] for (uint i = 0; i < 4; ++i) b.q[i] = load_quad(row_quads(tile, block, 4, row) + i * STRIP_ROWS);
  return b;
}
vec4 block_values(Block b, uint i) {
  uvec4 q = b.q[i >> 1];
  uvec2 w = (i & 1) == 0 ? q.xy : q.zw;
  return vec4(half2_to_float(w.x), half2_to_float(w.y));
}
#endif
