// y = W x for many rows of x as fp16 (half_rows.comp), on the device's matrix units: W is decoded to fp16, sums are float32.
// As matmul_staged.comp otherwise, but not its bits. A value of W beyond 65504 becomes infinity; formats with more bits than
// fp16 (F32, BF16) are left to the others. Tiles as in llama.cpp's mul_mm. Written for GL_NV_cooperative_matrix, whose sizes
// may be specialization constants; embed_kernels makes it the KHR form, which needs the Vulkan memory model.
#version 450
#pragma use_vulkan_memory_model
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_NV_cooperative_matrix : require
#define HALVES
#include "shared/matmul.h"

#include "lib/tall_matmul.glsl"
layout(constant_id = 8) const uint M = 16;   // a product of matrices (M, K) of W and (K, N) of x: Caps::cooperative_matrix
layout(constant_id = 9) const uint N = 16;
layout(constant_id = 10) const uint K = 16;
layout(constant_id = 11) const uint SUBGROUP = 32;  // invocations of a subgroup, which all take part
const uint LOADS = (TOKENS * HALF_QUADS + LANES - 1) / LANES;  // quads of x that an invocation brings
// The outputs of a workgroup are matrices (M, N), of which a subgroup owns (OWN_ROWS, OWN_TOKENS).
const uint ACROSS = TOKENS / N;
const uint OWN = GROUP_ROWS / M * ACROSS / (LANES / SUBGROUP);
const uint OWN_TOKENS = OWN < ACROSS ? OWN : ACROSS;
const uint OWN_ROWS = OWN / OWN_TOKENS;
const uint SUBGROUPS_ACROSS = ACROSS / OWN_TOKENS;

// Two of each, for blocks in turn, so that one barrier a block is enough: rows of W, then rows of x, with a quad between
// them for the banks' sake. Products follow in the same place: (row of x, row of W) as float32.
const uint PITCH = HALF_QUADS + 1, SUM_PITCH = GROUP_ROWS / 4 + 1;
const uint X_STAGED = 2 * GROUP_ROWS * PITCH;
shared uvec4 staged[2 * (GROUP_ROWS + TOKENS) * PITCH];

uvec2 halves(vec4 v) {
  f16vec4 h = f16vec4(v);
  return uvec2(packFloat2x16(h.xy), packFloat2x16(h.zw));
}

void main() {
  uint lane = gl_LocalInvocationID.x, row_lane = lane % ROW_LANES, token_lane = lane / ROW_LANES;
  Job job = find_job();
  int first_tile = bases[job.expert] + int(gl_WorkGroupID.y * TILES), shard_tiles = int(p.shard_tiles);
  if (first_tile + int(TILES) <= 0 || first_tile >= shard_tiles) return;  // the whole workgroup does

  uint own_row = lane % GROUP_ROWS;  // which this invocation decodes: all of it, or a half
  uint tile = uint(clamp(first_tile + int(own_row / TILE_ROWS), 0, shard_tiles - 1)) * p.tile_quads;
  uint x_base[LOADS];
  [[unroll]] for (uint i = 0; i < LOADS; ++i) {
    uint at = lane + i * LANES, slot = job.first + min(at / HALF_QUADS, job.rows - 1);
    x_base[i] = x_row(slot) * p.x_stride + at % HALF_QUADS;
  }
  uint own_m = gl_SubgroupID / SUBGROUPS_ACROSS * OWN_ROWS * M, own_n = gl_SubgroupID % SUBGROUPS_ACROSS * OWN_TOKENS * N;

  fcoopmatNV<32, gl_ScopeSubgroup, M, N> sums[OWN];
  [[unroll]] for (uint i = 0; i < OWN; ++i) sums[i] = fcoopmatNV<32, gl_ScopeSubgroup, M, N>(0.0);
  for (uint block = 0; block < p.blocks; ++block) {
    uint w_staged = (block & 1) * GROUP_ROWS * PITCH, x_staged = X_STAGED + (block & 1) * TOKENS * PITCH;
    Block b = block_load(tile, tile * 4 + p.tail_word, block, own_row % TILE_ROWS);
    [[unroll]] for (uint half_row = 0; half_row < 2; ++half_row) {
      if (LANES == GROUP_ROWS || half_row == lane / GROUP_ROWS) {
        [[unroll]] for (uint i = half_row * 2; i < half_row * 2 + 2; ++i)
          staged[w_staged + own_row * PITCH + i] = uvec4(halves(block_values(b, 2 * i)), halves(block_values(b, 2 * i + 1)));
      }
    }
    [[unroll]] for (uint i = 0; i < LOADS; ++i) {
      uint at = lane + i * LANES;
      staged[x_staged + at / HALF_QUADS * PITCH + at % HALF_QUADS] = x[x_base[i] + block * HALF_QUADS];
    }
    barrier();  // no invocation is two blocks ahead of another
    [[unroll]] for (uint k = 0; k < BLOCK_ELEMS; k += K) {
      fcoopmatNV<16, gl_ScopeSubgroup, K, N> xs[OWN_TOKENS];
      [[unroll]] for (uint t = 0; t < OWN_TOKENS; ++t)
        coopMatLoadNV(xs[t], staged, x_staged + (own_n + t * N) * PITCH + k / 8, PITCH, true);
      [[unroll]] for (uint r = 0; r < OWN_ROWS; ++r) {
        fcoopmatNV<16, gl_ScopeSubgroup, M, K> w;
        coopMatLoadNV(w, staged, w_staged + (own_m + r * M) * PITCH + k / 8, PITCH, false);
        [[unroll]] for (uint t = 0; t < OWN_TOKENS; ++t)
          sums[r * OWN_TOKENS + t] = coopMatMulAddNV(w, xs[t], sums[r * OWN_TOKENS + t]);
      }
    }
  }
  barrier();  // all have read the last block
  [[unroll]] for (uint r = 0; r < OWN_ROWS; ++r) {
    [[unroll]] for (uint t = 0; t < OWN_TOKENS; ++t)
      coopMatStoreNV(sums[r * OWN_TOKENS + t], staged, (own_n + t * N) * SUM_PITCH + (own_m + r * M) / 4, SUM_PITCH, true);
  }
  barrier();
  float total[OUTPUTS];
  [[unroll]] for (uint t = 0; t < LANE_TOKENS; ++t) {
    uint token = token_lane + t * TOKEN_LANES, slot = job.first + min(token, job.rows - 1);
    float scale = uintBitsToFloat(x[x_row(slot) * p.x_stride + p.blocks * HALF_QUADS].x);
    [[unroll]] for (uint r = 0; r < LANE_ROWS; ++r) {
      uint row = row_lane + r * ROW_LANES;
      total[r * LANE_TOKENS + t] = uintBitsToFloat(staged[token * SUM_PITCH + row / 4][row % 4]) * scale;
    }
  }
  STORE_OUTPUTS(job, first_tile, row_lane, token_lane)
}
