// y = W x for many rows of x: a workgroup decodes a block of TILES tiles of W and of TOKENS rows of x into shared memory,
// and each invocation multiplies LANE_ROWS rows by LANE_TOKENS rows of x from there, so that a weight is decoded once for
// all TOKENS and a value that was read serves four to eight multiply-adds. Same sums in the same order as matmul.comp.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "shared/matmul.h"

#include "lib/tall_matmul.glsl"
const uint QUADS = BLOCK_ELEMS / 4;
const uint LOAD_ROWS = LANES / QUADS;           // rows of x of which the workgroup brings a quad each at a time
const uint LOADS = TOKENS / LOAD_ROWS;          // quads of x that an invocation brings

shared vec4 w_staged[QUADS * GROUP_ROWS];  // (quad of the block, row)
shared vec4 x_staged[QUADS * TOKENS];      // (quad of the block, row of x)

void main() {
  uint lane = gl_LocalInvocationID.x, row_lane = lane % ROW_LANES, token_lane = lane / ROW_LANES;
  Job job = find_job();
  int first_tile = bases[job.expert] + int(gl_WorkGroupID.y * TILES), shard_tiles = int(p.shard_tiles);
  if (first_tile + int(TILES) <= 0 || first_tile >= shard_tiles) return;  // the whole workgroup does

  uint own_row = lane % GROUP_ROWS;  // which this invocation decodes: all of it, or a half
  uint tile = uint(clamp(first_tile + int(own_row / TILE_ROWS), 0, shard_tiles - 1)) * p.tile_quads;
  uint x_base[LOADS];
  [[unroll]] for (uint i = 0; i < LOADS; ++i) {
    uint slot = job.first + min(lane / QUADS + i * LOAD_ROWS, job.rows - 1);
    x_base[i] = x_row(slot) * p.x_stride + batch() * p.x_batch + lane % QUADS;
  }

  precise float total[OUTPUTS], sum[OUTPUTS];
  [[unroll]] for (uint i = 0; i < OUTPUTS; ++i) total[i] = 0.0;
  uint segment_blocks = (p.blocks + MATMUL_SEGMENTS - 1) / MATMUL_SEGMENTS;
  for (uint segment = 0; segment < MATMUL_SEGMENTS; ++segment) {
    [[unroll]] for (uint i = 0; i < OUTPUTS; ++i) sum[i] = 0.0;
    uint end = min((segment + 1) * segment_blocks, p.blocks);
    for (uint block = segment * segment_blocks; block < end; ++block) {
      Block b = block_load(tile, tile * 4 + p.tail_word, block, own_row % TILE_ROWS);
      vec4 own_x[LOADS];
      [[unroll]] for (uint i = 0; i < LOADS; ++i) own_x[i] = x[x_base[i] + block * QUADS];
      barrier();  // the block before has been used
      if (LANES == GROUP_ROWS) {
        [[unroll]] for (uint i = 0; i < QUADS; ++i) w_staged[i * GROUP_ROWS + own_row] = block_values(b, i);
      } else if (lane < GROUP_ROWS) {
        [[unroll]] for (uint i = 0; i < QUADS / 2; ++i) w_staged[i * GROUP_ROWS + own_row] = block_values(b, i);
      } else {
        [[unroll]] for (uint i = QUADS / 2; i < QUADS; ++i) w_staged[i * GROUP_ROWS + own_row] = block_values(b, i);
      }
      [[unroll]] for (uint i = 0; i < LOADS; ++i)
        x_staged[lane % QUADS * TOKENS + lane / QUADS + i * LOAD_ROWS] = own_x[i];
      barrier();
      [[unroll]] for (uint i = 0; i < QUADS; ++i) {
        vec4 xs[LANE_TOKENS];
        [[unroll]] for (uint t = 0; t < LANE_TOKENS; ++t) xs[t] = x_staged[i * TOKENS + token_lane + t * TOKEN_LANES];
        [[unroll]] for (uint r = 0; r < LANE_ROWS; ++r) {
          vec4 w = w_staged[i * GROUP_ROWS + row_lane + r * ROW_LANES];
          [[unroll]] for (uint t = 0; t < LANE_TOKENS; ++t) {
            precise float s = sum[r * LANE_TOKENS + t];
            s = fma(w.x, xs[t].x, s);
            s = fma(w.y, xs[t].y, s);
            s = fma(w.z, xs[t].z, s);
            s = fma(w.w, xs[t].w, s);
            sum[r * LANE_TOKENS + t] = s;
          }
        }
      }
    }
    [[unroll]] for (uint i = 0; i < OUTPUTS; ++i) total[i] += sum[i];
  }
  STORE_OUTPUTS(job, first_tile, row_lane, token_lane)
}
