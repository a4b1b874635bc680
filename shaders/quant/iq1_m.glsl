// IQ1_M: two quads of codebook entries of 8 values each for 256 values, one with a nibble for each entry: its high
// bits and the sign of its shift; in the tail an fp16 scale, the high 2 and the low 4 bits of two 3-bit scales for
// each 32 values. value = scale * (level + shift), level = code - 1.
#include "quant/codebook.glsl"
struct Block { uvec4 entries; vec4 shifts; vec2 scales; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block >> 3, 3, row), sub = block & 7, at = tail + (block >> 3) * 2 * TILE_ROWS + row;
  uint low = load_word((first + (sub >> 2) * STRIP_ROWS) * 4 + (sub & 3));
  uint more = load_word((first + 2 * STRIP_ROWS) * 4 + (sub >> 1)) >> (sub & 1) * 16;
  uvec4 nibble = uvec4(more, more >> 4, more >> 8, more >> 12) & 15u;
  uint word = load_word(at), scales = load_word(at + TILE_ROWS) >> sub * 4 & 15 | (word >> (16 + sub * 2) & 3) << 4;
  vec2 factors = half_to_float(word & 0xffffu) * vec2(2 * (scales & 7) + 1, 2 * (scales >> 3) + 1);
  return Block(codebook4(entries_of(low) | (nibble & 7u) << 8),
               mix(vec4(-0.875), vec4(-1.125), greaterThan(nibble, uvec4(7))), factors);
}
vec4 block_values(Block b, uint i) { return b.scales[i >> 2] * (bytes(codes(b.entries, i)) + b.shifts[i >> 1]); }
