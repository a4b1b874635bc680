// y = W x for one matrix, or for each expert with the rows that chose it. One source for mat-vec and tiles, so that all
// variants sum in the same order (MATMUL_SEGMENTS in shared/matmul.h) and give the same bits.
// A workgroup owns TILES tiles of 32 rows of W (with GATED gate and up in turn) and up to TOKENS rows of x.
// With TEXELS defined, weights and x are read as uniform texel buffers, and each of eight invocations loads an eighth of
// what they need of x and hands it round: for drivers that load from storage buffers one value at a time, and from texel
// buffers whole vectors (llvmpipe). A workgroup then is one subgroup of eight. Instructions count there: the 32 products of a
// block are summed on their own, before their scale if it is one of integers, so bits are not those of the others, but alike in
// all shapes.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef TEXELS
#extension GL_KHR_shader_subgroup_shuffle : require
#endif
#ifdef STORAGE16
#extension GL_EXT_shader_16bit_storage : require
#endif
#include "shared/matmul.h"

layout(local_size_x_id = 0) in;                    // (32 / LANE_ROWS) * SPLIT
layout(constant_id = 0) const uint LANES = 32;
layout(constant_id = 1) const uint LANE_ROWS = 1;  // rows of the tile that one invocation owns
#define LEAST_TOKENS 1
#define LEAST_TILES 1
#include "lib/matmul.glsl"
layout(constant_id = 8) const uint SPLIT = 1;      // invocations that share the segments of a row: 1, 2, 4, 8
const uint ROW_LANES = TILE_ROWS / LANE_ROWS;
const uint OWN_ROWS = LANE_ROWS * TILES;
const uint SHARED_SIZE = SPLIT > 1 ? MATMUL_SEGMENTS * TILE_ROWS * TILES * TOKENS : 1;

shared float partial[SHARED_SIZE];  // (segment, own row, row lane, token)

// Adds four values of k, from 4i on, to sums[at ..] of HELD_ROWS rows and all tokens; W_AT(r) and X_AT(t) are these of a row of W
// and of x, HELD of which are held at a time. A macro, not a function: arrays whose size is a specialization constant would be
// copied in and out.
const uint HELD = TOKENS > 4 ? 4 : 1;  // what spills on neither Intel nor Mali, which have few registers
#define MULTIPLY_ADD(i, sums, at) \
  vec4 w[HELD_ROWS]; \
  [[unroll]] for (uint r = 0; r < HELD_ROWS; ++r) w[r] = W_AT(r); \
  [[unroll]] for (uint first = 0; first < TOKENS; first += HELD) { \
    vec4 xs[HELD]; \
    [[unroll]] for (uint t = 0; t < HELD; ++t) xs[t] = X_AT(first + t); \
    [[unroll]] for (uint r = 0; r < HELD_ROWS; ++r) { \
      [[unroll]] for (uint t = 0; t < HELD; ++t) { \
        precise float s = sums[(at) + r * TOKENS + first + t]; \
        s = fma(w[r].x, xs[t].x, s); \
        s = fma(w[r].y, xs[t].y, s); \
        s = fma(w[r].z, xs[t].z, s); \
        s = fma(w[r].w, xs[t].w, s); \
        sums[(at) + r * TOKENS + first + t] = s; \
      } \
    } \
  }
#ifdef TEXELS
// As many rows that sums do not wait for each other, and no more, so that loads of the next ones meet arithmetic.
const uint HELD_ROWS = TOKENS > 4 ? 1 : 4 / TOKENS;
#ifdef INT8_SCALES
const uint PARTS = INT8_SCALES;
#define ADD_PART(b, i, part, s) fma(int8_scales(b)[i], part, s)
#else
const uint PARTS = 1;
#define ADD_PART(b, i, part, s) ((s) + (part))
#endif
#define W_AT(r) block_units(b[r], i)
#define X_AT(t) subgroupShuffle(own_x[t], i)
#else
const uint HELD_ROWS = OWN_ROWS;
#define W_AT(r) block_values(b[r], i)
#define X_AT(t) x[x_base[t] + block * (BLOCK_ELEMS / 4) + i]
#endif

void main() {
  uint lane = gl_LocalInvocationID.x % ROW_LANES, split = SPLIT > 1 ? gl_LocalInvocationID.x / ROW_LANES : 0;
  Job job = find_job();
  // The same for the whole workgroup: its tiles in the shard, and whether any is there.
  int first_tile = bases[job.expert] + int(gl_WorkGroupID.y * TILES), shard_tiles = int(p.shard_tiles);
  bool mine = first_tile + int(TILES) > 0 && first_tile < shard_tiles;

  precise float total[OWN_ROWS * TOKENS], sum[OWN_ROWS * TOKENS];
  [[unroll]] for (uint i = 0; i < OWN_ROWS * TOKENS; ++i) total[i] = 0.0;

  if (mine) {
    uint x_base[TOKENS], tile[TILES];
    [[unroll]] for (uint t = 0; t < TOKENS; ++t)
      x_base[t] = x_row(job.first + min(t, job.rows - 1)) * p.x_stride + batch() * p.x_batch;
    [[unroll]] for (uint i = 0; i < TILES; ++i)  // a pair lies in one shard
      tile[i] = (uint(clamp(first_tile + int(i / PAIR * PAIR), 0, shard_tiles - int(PAIR))) + i % PAIR) * p.tile_quads;
    uint segment_blocks = (p.blocks + MATMUL_SEGMENTS - 1) / MATMUL_SEGMENTS;
    for (uint segment = split; segment < MATMUL_SEGMENTS; segment += SPLIT) {
      [[unroll]] for (uint i = 0; i < OWN_ROWS * TOKENS; ++i) sum[i] = 0.0;
      uint end = min((segment + 1) * segment_blocks, p.blocks);
      for (uint block = segment * segment_blocks; block < end; ++block) {
#ifdef TEXELS
        vec4 own_x[TOKENS];
        [[unroll]] for (uint t = 0; t < TOKENS; ++t)
          own_x[t] = texelFetch(x_texels, int(x_base[t] + block * (BLOCK_ELEMS / 4) + gl_LocalInvocationID.x));
#ifdef INT8_MINIMA
        precise float x_sums[PARTS * TOKENS];  // of as many values as share a minimum
        [[unroll]] for (uint t = 0; t < TOKENS; ++t) {
          precise float own = (own_x[t].x + own_x[t].y) + (own_x[t].z + own_x[t].w);
          [[unroll]] for (uint i = 0; i < PARTS; ++i) x_sums[i * TOKENS + t] = 0.0;
          [[unroll]] for (uint i = 0; i < 8; ++i) x_sums[i * PARTS / 8 * TOKENS + t] += subgroupShuffle(own, i);
        }
#endif
#ifdef INT8_SCALES
        [[unroll]] for (uint t = 0; t < TOKENS; ++t) own_x[t] *= unit_places(gl_LocalInvocationID.x);
#endif
#endif
        [[unroll]] for (uint held = 0; held < OWN_ROWS; held += HELD_ROWS) {
          Block b[HELD_ROWS];
          [[unroll]] for (uint r = 0; r < HELD_ROWS; ++r) {
            uint own = held + r;
            b[r] = block_load(tile[own / LANE_ROWS], tile[own / LANE_ROWS] * 4 + p.tail_word, block,
                              lane + own % LANE_ROWS * ROW_LANES);
          }
#ifdef TEXELS
          precise float part[PARTS * HELD_ROWS * TOKENS];
          [[unroll]] for (uint i = 0; i < PARTS * HELD_ROWS * TOKENS; ++i) part[i] = 0.0;
          [[unroll]] for (uint i = 0; i < BLOCK_ELEMS / 4; ++i) {
            MULTIPLY_ADD(i, part, i * PARTS / 8 * HELD_ROWS * TOKENS)
          }
          [[unroll]] for (uint r = 0; r < HELD_ROWS; ++r) {
            [[unroll]] for (uint t = 0; t < TOKENS; ++t) {
              precise float s = sum[(held + r) * TOKENS + t];
              [[unroll]] for (uint i = 0; i < PARTS; ++i) {
                s = ADD_PART(b[r], i, part[(i * HELD_ROWS + r) * TOKENS + t], s);
#ifdef INT8_MINIMA
                s = fma(-int8_minima(b[r])[i], x_sums[i * TOKENS + t], s);
#endif
              }
              sum[(held + r) * TOKENS + t] = s;
            }
          }
#else
          [[unroll]] for (uint i = 0; i < BLOCK_ELEMS / 4; ++i) {
            MULTIPLY_ADD(i, sum, held * TOKENS)
          }
#endif
        }
      }
      [[unroll]] for (uint i = 0; i < OWN_ROWS * TOKENS; ++i) {
        if (SPLIT > 1) partial[(segment * OWN_ROWS * TOKENS + i) * ROW_LANES + lane] = sum[i];
        else total[i] += sum[i];
      }
    }
  }
  if (SPLIT > 1) barrier();
  if (split == 0) {
    if (SPLIT > 1) {
      for (uint segment = 0; segment < MATMUL_SEGMENTS; ++segment) {
        [[unroll]] for (uint i = 0; i < OWN_ROWS * TOKENS; ++i)
          total[i] += partial[(segment * OWN_ROWS * TOKENS + i) * ROW_LANES + lane];
      }
    }
    if (TOKENS > 1) job = find_job();  // again: kept through the loops, it would cost registers
    [[unroll]] for (uint i = 0; i < TILES; i += PAIR) {
      bool there = first_tile + int(i) >= 0 && first_tile + int(i) < shard_tiles;
      uint tile_row = (gl_WorkGroupID.y * TILES + i) / PAIR * TILE_ROWS;
      [[unroll]] for (uint r = 0; r < LANE_ROWS; ++r) {
        [[unroll]] for (uint t = 0; t < TOKENS; ++t) {
          uint own = (i * LANE_ROWS + r) * TOKENS + t;
          if (there) store(job, t, tile_row + lane + r * ROW_LANES, total[own], total[own + (PAIR - 1) * LANE_ROWS * TOKENS]);
        }
      }
    }
  }
}
