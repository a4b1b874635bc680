// What matmul_staged.comp, matmul_int8.comp and matmul_coopmat.comp share beside lib/matmul.glsl: workgroups of TILES tiles of
// W and TOKENS rows of x, of which an invocation multiplies LANE_ROWS rows by LANE_TOKENS rows.
layout(local_size_x = 128, local_size_x_id = 0) in;  // one or two invocations for a row of W
layout(constant_id = 0) const uint LANES = 128;
layout(constant_id = 1) const uint LANE_ROWS = 4;  // rows of W of an invocation
#define LEAST_TOKENS 32
#define LEAST_TILES 2
#include "lib/matmul.glsl"
const uint GROUP_ROWS = TILE_ROWS * TILES;           // rows of W of the workgroup
const uint ROW_LANES = GROUP_ROWS / LANE_ROWS;       // at most 32: an invocation owns the same row of gate and of up
const uint TOKEN_LANES = LANES / ROW_LANES;
const uint LANE_TOKENS = TOKENS / TOKEN_LANES;
const uint OUTPUTS = LANE_ROWS * LANE_TOKENS;

// Stores total[OUTPUTS]. A macro, not a function: arrays whose size is a specialization constant would be copied. No continue,
// which would keep Mesa from unrolling the loops, and total[] in memory.
#define STORE_OUTPUTS(job, first_tile, row_lane, token_lane) \
  const uint tile_step = TILE_ROWS / ROW_LANES; /* own rows of a tile */ \
  [[unroll]] for (uint i = 0; i < TILES; i += PAIR) { \
    bool there = first_tile + int(i) >= 0 && first_tile + int(i) < int(p.shard_tiles); \
    uint tile_row = (gl_WorkGroupID.y * TILES + i) / PAIR * TILE_ROWS + row_lane; \
    [[unroll]] for (uint r = 0; r < tile_step; ++r) { \
      [[unroll]] for (uint t = 0; t < LANE_TOKENS; ++t) { \
        uint own = (i * tile_step + r) * LANE_TOKENS + t, up = own + (PAIR - 1) * tile_step * LANE_TOKENS; \
        if (there) store(job, token_lane + t * TOKEN_LANES, tile_row + r * ROW_LANES, total[own], total[up]); \
      } \
    } \
  }
