// F8_E4M3: 256 bytes in 16 quads, two float32 scales in the tail. value = scale * E4M3, where exponent 0 means mantissa *
// 2^-9 and all ones NaN.
struct Block { uvec4 q[2]; float scale; };
Block block_load(uint tile, uint tail, uint block, uint row) {
  Block b;
  uint first = row_quads(tile, block >> 3, 16, row) + (block & 7) * 2 * STRIP_ROWS;
  [[unroll]] for (uint i = 0; i < 2; ++i) b.q[i] = load_quad(first + i * STRIP_ROWS);
  b.scale = uintBitsToFloat(load_word(tail + (block >> 2) * TILE_ROWS + row));
  return b;
}
vec4 block_values(Block b, uint i) {
  uint w = b.q[i >> 2][i & 3];
  uvec4 bits = uvec4(w, w >> 8, w >> 16, w >> 24);
  uvec4 magnitude = (bits & 0x7fu) << 20;  // exponent and mantissa in float32's place
  uvec4 value = mix(magnitude + 0x3c000000u, floatBitsToUint(vec4(bits & 7u) * 0.001953125),
                    lessThan(magnitude, uvec4(0x00800000u)));
  value = mix(value, uvec4(0x7fc00000u), equal(magnitude, uvec4(0x07f00000u)));
  return b.scale * uintBitsToFloat(value | (bits & 0x80u) << 24);
}
