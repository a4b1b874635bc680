// NVFP4: E2M1 in one quad, two unsigned E4M3 scales of 16 values each in the tail.
#include "quant/tables.glsl"
struct Block { uvec4 q; vec2 scales; };
float half_scale(uint e4m3) {
  uint exponent = e4m3 >> 3 & 15, mantissa = e4m3 & 7;
  if (e4m3 == 0x7f) return 0.0;
  return exponent == 0 ? float(mantissa) * 0.0009765625 : uintBitsToFloat((exponent + 119) << 23 | mantissa << 20);
}
Block block_load(uint tile, uint tail, uint block, uint row) {
  uint both = tail_half(tail, block, row);
  uvec4 q = load_quad(row_quads(tile, block >> 1, 2, row) + (block & 1) * STRIP_ROWS);
  return Block(q, (E2M1_BY_HALVES ? 32768.0 : 1.0) * vec2(half_scale(both & 255), half_scale(both >> 8)));
}
vec4 block_values(Block b, uint i) { return b.scales[i >> 2] * e2m1_times(b.q, i); }
#define INT8_SCALES 2
uint int8_values(Block b, uint i) { return e2m1_bytes(b.q, i); }
#define OWN_UNITS
vec4 block_units(Block b, uint i) { return e2m1_times(b.q, i); }
vec4 unit_places(uint i) { return vec4(1 / E2M1_INTEGER); }
vec2 int8_scales(Block b) { return b.scales * E2M1_INTEGER; }
