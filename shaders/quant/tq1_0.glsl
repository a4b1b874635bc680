// TQ1_0: three quads for 256 values and in the tail four more bytes, then an fp16 scale. Digits in base 3, most
// significant first: digit n of a byte is (byte * 3^n mod 256) * 3 / 256. value = scale * (digit - 1).
struct Block { uvec4 q[2]; float scale; };
uvec4 digits(uvec4 w, uvec4 power) {  // of all four bytes of each word
  uvec4 even = ((w & 0x00ff00ffu) * power & 0x00ff00ffu) * 3u;
  uvec4 odd = ((w >> 8 & 0x00ff00ffu) * power & 0x00ff00ffu) * 3u;
  return even >> 8 & 0x00030003u | odd & 0x03000300u;
}
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint first = row_quads(tile, block >> 3, 3, row), sub = block & 7, at = (block >> 3) * 3;
  uint power = sub == 0 ? 1 : sub == 1 ? 3 : sub == 2 ? 9 : sub == 3 ? 27 : 81;  // of the first five 32 values
  uvec4 low = load_quad(first + (sub < 5 ? 0 : 2 * STRIP_ROWS)), high = load_quad(first + (sub < 5 ? STRIP_ROWS : 2 * STRIP_ROWS));
  uvec4 low_power = uvec4(power), high_power = uvec4(power);
  if (sub == 5) low_power = uvec4(1), high_power = uvec4(3);
  if (sub == 6) low_power = uvec4(9), high_power = uvec4(27);
  if (sub == 7) {
    high = uvec4(tail_half(tail, at, row) | tail_half(tail, at + 1, row) << 16);
    high_power = uvec4(1, 3, 9, 27);
  }
  Block b;
  b.q[0] = digits(low, low_power);
  b.q[1] = digits(high, high_power);
  b.scale = half_to_float(tail_half(tail, at + 2, row));
  return b;
}
vec4 block_values(Block b, uint i) { return b.scale * (bytes(b.q[i >> 2][i & 3]) - 1.0); }
