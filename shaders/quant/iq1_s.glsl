// IQ1_S: two quads of codebook entries of 8 values each for 256 values, one with the entries' high bits, scale and
// sign of the shift of each 32; an fp16 scale in the tail. value = scale * (level + shift), level = code - 1.
#include "quant/codebook.glsl"
struct Block { uvec4 entries; float scale, shift; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block >> 3, 3, row), sub = block & 7;
  uint low = load_word((first + (sub >> 2) * STRIP_ROWS) * 4 + (sub & 3));
  uint more = load_word((first + 2 * STRIP_ROWS) * 4 + (sub >> 1)) >> (sub & 1) * 16;
  uvec4 entries = entries_of(low) | (uvec4(more, more >> 3, more >> 6, more >> 9) & 7u) << 8;
  float scale = half_to_float(tail_half(tail, block >> 3, row)) * float(2 * (more >> 12 & 7) + 1);
  return Block(codebook4(entries), scale, (more & 0x8000u) != 0 ? -1.125 : -0.875);
}
vec4 block_values(Block b, uint i) { return b.scale * (bytes(codes(b.entries, i)) + b.shift); }
