// y = W x for many rows of x as int8 (quantize_rows.comp) and formats whose values are integers times a scale: products of
// integers, four in an instruction (SPV_KHR_integer_dot_product), exact within 32 values; then scales and sums in float32.
// As matmul_staged.comp otherwise, but not the bits of the others, since x was rounded. Tiles as in llama.cpp's mul_mmq.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_spirv_intrinsics : require
#define INT8
#include "shared/matmul.h"

#include "lib/tall_matmul.glsl"
const uint LOADS = (TOKENS * INT8_QUADS + LANES - 1) / LANES;  // quads of x that an invocation brings
const uint X_QUADS = LOADS * LANES;                            // with some more than x has, which are not read

// What the products of a row of W and of a row of x are multiplied by: scales, of both halves or of each, then minima; and
// the last words of INT8_QUADS.
#if INT8_SCALES == 2 && defined(INT8_MINIMA)
#define WFactors vec4
#define W_FACTORS(b) vec4(int8_scales(b), int8_minima(b))
#elif INT8_SCALES == 2
#define WFactors vec2
#define W_FACTORS(b) int8_scales(b)
#elif defined(INT8_MINIMA)
#define WFactors vec2
#define W_FACTORS(b) vec2(int8_scales(b).x, int8_minima(b).x)
#else
#define WFactors float
#define W_FACTORS(b) int8_scales(b).x
#endif
#ifdef INT8_MINIMA
#define XFactors vec4
#define X_FACTORS(quad) uintBitsToFloat(quad)
#else
#define XFactors float
#define X_FACTORS(quad) uintBitsToFloat(quad.x)
#endif

// Two of each, for blocks in turn, so that one barrier a block is enough.
shared uvec4 w_staged[4 * GROUP_ROWS];      // (block & 1, half, row)
shared WFactors w_factors[2 * GROUP_ROWS];  // (block & 1, row lane, row of the lane), so that a lane's lie side by side
shared uvec4 x_staged[2 * X_QUADS];         // (block & 1, row of x, INT8_QUADS)

// OpSDotKHR of four signed bytes each; the last operand names their packing.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int packed_dot(uint a, uint b, spirv_literal int packing);
int dot16(uvec4 a, uvec4 b, int sum) {
  return packed_dot(a.w, b.w, 0) + (packed_dot(a.z, b.z, 0) + (packed_dot(a.y, b.y, 0) + (packed_dot(a.x, b.x, 0) + sum)));
}

void main() {
  uint lane = gl_LocalInvocationID.x, row_lane = lane % ROW_LANES, token_lane = lane / ROW_LANES;
  Job job = find_job();
  int first_tile = bases[job.expert] + int(gl_WorkGroupID.y * TILES), shard_tiles = int(p.shard_tiles);
  if (first_tile + int(TILES) <= 0 || first_tile >= shard_tiles) return;  // the whole workgroup does

  uint own_row = lane % GROUP_ROWS;  // which this invocation decodes: all of it, or a half
  uint tile = uint(clamp(first_tile + int(own_row / TILE_ROWS), 0, shard_tiles - 1)) * p.tile_quads;
  uint tail = tile * 4 + p.tail_word, tile_row = own_row % TILE_ROWS;
  uint own_factors = own_row % ROW_LANES * LANE_ROWS + own_row / ROW_LANES;
  uint x_base[LOADS];
  [[unroll]] for (uint i = 0; i < LOADS; ++i) {
    uint at = lane + i * LANES, slot = job.first + min(at / INT8_QUADS, job.rows - 1);
    x_base[i] = x_row(slot) * p.x_stride + at % INT8_QUADS;
  }

  precise float total[OUTPUTS];
  [[unroll]] for (uint i = 0; i < OUTPUTS; ++i) total[i] = 0.0;
  for (uint block = 0; block < p.blocks; ++block) {
    // Where this block's begin. Constants are added last, so that compilers make them offsets of loads and stores.
    uint turn = block & 1, w_half = turn * 2 * GROUP_ROWS, w_factor = turn * GROUP_ROWS, x_first = turn * X_QUADS;
    Block b = block_load(tile, tail, block, tile_row);
    [[unroll]] for (uint half_row = 0; half_row < 2; ++half_row) {
      if (LANES == GROUP_ROWS || lane / GROUP_ROWS == half_row) {  // no continue: compilers would not unroll the loop
        uvec4 q;
        [[unroll]] for (uint i = 0; i < 4; ++i) q[i] = int8_values(b, half_row * 4 + i);
        w_staged[w_half + own_row + half_row * GROUP_ROWS] = q;
      }
    }
    if (LANES == GROUP_ROWS || lane < GROUP_ROWS) w_factors[w_factor + own_factors] = W_FACTORS(b);
    [[unroll]] for (uint i = 0; i < LOADS; ++i)
      x_staged[x_first + lane + i * LANES] = x[x_base[i] + block * INT8_QUADS];
    barrier();  // no invocation is two blocks ahead of another
    uvec4 xs[2 * LANE_TOKENS];
    XFactors xf[LANE_TOKENS];
    [[unroll]] for (uint t = 0; t < LANE_TOKENS; ++t) {
      xs[2 * t] = x_staged[x_first + token_lane * INT8_QUADS + t * TOKEN_LANES * INT8_QUADS];
      xs[2 * t + 1] = x_staged[x_first + token_lane * INT8_QUADS + (t * TOKEN_LANES * INT8_QUADS + 1)];
      xf[t] = X_FACTORS(x_staged[x_first + token_lane * INT8_QUADS + (t * TOKEN_LANES * INT8_QUADS + 2)]);
    }
    [[unroll]] for (uint r = 0; r < LANE_ROWS; ++r) {
      uvec4 first = w_staged[w_half + row_lane + r * ROW_LANES];
      uvec4 second = w_staged[w_half + row_lane + (GROUP_ROWS + r * ROW_LANES)];
      WFactors wf = w_factors[w_factor + row_lane * LANE_ROWS + r];
      [[unroll]] for (uint t = 0; t < LANE_TOKENS; ++t) {
        precise float s = total[r * LANE_TOKENS + t];
        int a = dot16(first, xs[2 * t], 0);
#if INT8_SCALES == 1
        s = fma(float(dot16(second, xs[2 * t + 1], a)), vec2(wf).x * vec4(xf[t]).x, s);
#else
        s = fma(fma(float(a), wf.x, float(dot16(second, xs[2 * t + 1], 0)) * wf.y), vec4(xf[t]).x, s);
#endif
#ifdef INT8_MINIMA
#if INT8_SCALES == 1
        s = fma(-wf.y, xf[t].w, s);
#else
        s = fma(-wf.z, xf[t].y, s);
        s = fma(-wf.w, xf[t].z, s);
#endif
#endif
        total[r * LANE_TOKENS + t] = s;
      }
    }
  }
  STORE_OUTPUTS(job, first_tile, row_lane, token_lane)
}
