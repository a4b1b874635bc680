// Causal attention of query heads over the keys and values of their group's cache (grouped-query attention, Ainslie et
// al. 2023), in blocks of KEY_BLOCK keys, without storing the score matrix. A workgroup owns QUERIES (token, head) rows
// of one key-value head; it walks over all blocks and merges them, or (SPLIT_KEYS) handles block z alone and leaves a
// partial result; the workgroup that is the last to do so merges all of them in the same order: the same bits either way.
// With TEXELS defined, queries, keys and values are uniform texel buffers, and each of eight invocations loads an eighth of what
// they need of queries and weights and hands it round, as in matmul.comp; a row of values then has 32 at least. The same bits.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef TEXELS
#extension GL_KHR_shader_subgroup_shuffle : require
#endif
#include "shared/layer.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 32;
layout(constant_id = 1) const uint HEAD_DIM = 64;
layout(constant_id = 2) const uint QUERIES = 4;
layout(constant_id = 3) const uint SPLIT_KEYS = 0;
layout(constant_id = 4) const uint VALUE_DIM = 64;  // less than HEAD_DIM: values are the first dimensions of the keys
layout(constant_id = 5) const uint MOST_AHEAD = 1;   // at most KEY_BLOCK, a power of two
layout(constant_id = 6) const uint HALF_CACHE = 0;   // 1: keys and values are fp16
layout(constant_id = 7) const uint EXACT_HALVES = 0;  // lib/half.glsl
const uint DIM4 = HEAD_DIM / 4;
const uint VALUE4 = VALUE_DIM / 4;
const uint COLUMNS = LANES < VALUE4 ? LANES : VALUE4;           // lanes side by side over a row of values
const uint QUERY_LANES = LANES < VALUE4 ? 1 : LANES / VALUE4;   // lanes over queries
const uint OWN_COLUMNS = (VALUE4 + COLUMNS - 1) / COLUMNS;
const uint OWN_QUERIES = (QUERIES + QUERY_LANES - 1) / QUERY_LANES;
// Lanes over the queries of a key, and their queries.
const uint KEY_LANES = LANES < 2 * KEY_BLOCK ? 1 : LANES / KEY_BLOCK < QUERIES ? LANES / KEY_BLOCK : QUERIES;
const uint KEY_QUERIES = QUERIES / KEY_LANES;
// Partial results, and keys' values, that are loaded before the first is used, where an invocation has few sums.
const uint OWN_SUMS = OWN_QUERIES * OWN_COLUMNS;
const uint AHEAD = OWN_SUMS <= 2 ? MOST_AHEAD : OWN_SUMS <= 4 && MOST_AHEAD > 4 ? 4 : 1;
#ifdef TEXELS
const uint KEYS_AHEAD = 8;  // each invocation has the weights of one
#else
const uint KEYS_AHEAD = AHEAD;
#endif

layout(binding = 0) readonly buffer StepState { Step step_state; };
#ifdef TEXELS
layout(binding = 1) uniform samplerBuffer queries;  // the same, and a cache of f32
layout(binding = 2) uniform samplerBuffer keys;
layout(binding = 3) uniform samplerBuffer values;
#else
layout(binding = 1) readonly buffer Queries { vec4 queries[]; };  // (n_tokens, n_heads, head_dim) f32
layout(binding = 2) readonly buffer Keys { vec4 keys[]; };        // (n_kv_heads, head_dim / 4, capacity, 4) f32 or fp16
layout(binding = 2) readonly buffer HalfKeys { uvec2 half_keys[]; };
layout(binding = 3) readonly buffer Values { vec4 values[]; };    // (n_kv_heads, capacity, head_dim) f32 or fp16, or the keys
layout(binding = 3) readonly buffer HalfValues { uvec2 half_values[]; };
#endif
layout(binding = 4) writeonly buffer Out { vec4 outs[]; };        // (n_tokens, out_stride) f32
layout(binding = 5) coherent buffer Partials { vec4 partials[]; };  // (n_heads, max_blocks, 1 + value_dim / 4, 4) f32
layout(binding = 5) coherent buffer Arrived { uint arrived[]; };    // (n_heads) u32 behind them: workgroups that have left
                                                                    // theirs, by first row; 0 between dispatches
layout(binding = 6) readonly buffer Sinks { float sinks[]; };        // (n_heads) f32, read when p.has_sinks
layout(binding = 7) readonly buffer PositionBias { float position_bias[]; };  // (n_heads, 2 bias_distance + 1) f32
layout(push_constant) uniform Push { AttentionParams p; };

#include "lib/half.glsl"
#include "lib/key_span.glsl"
#include "lib/softmax_merge.glsl"
#include "lib/tanh.glsl"

#ifndef TEXELS
shared vec4 query[QUERIES * DIM4];
shared float maximum[QUERIES];
#endif
shared float score[QUERIES * KEY_BLOCK];  // then exp(score - maximum)
shared uint arrivals;

vec4 floats_of(uvec2 halves) { return vec4(half2_to_float(halves.x), half2_to_float(halves.y)); }
#ifdef TEXELS
vec4 query_at(uint i) { return texelFetch(queries, int(i)); }
vec4 key_at(uint i) { return texelFetch(keys, int(i)); }
vec4 value_at(uint i) { return texelFetch(values, int(i)); }
#else
vec4 query_at(uint i) { return queries[i]; }
vec4 key_at(uint i) { return HALF_CACHE != 0 ? floats_of(half_keys[i]) : keys[i]; }
vec4 value_at(uint i) { return HALF_CACHE != 0 ? floats_of(half_values[i]) : values[i]; }
#endif

uint own_query(uint i) { return min(gl_LocalInvocationID.x / COLUMNS + i * QUERY_LANES, QUERIES - 1); }

uint value_index(uint kv_head, uint position, uint column) {
  if (VALUE_DIM < HEAD_DIM) return (kv_head * DIM4 + column) * p.capacity + position;
  return (kv_head * p.capacity + position) * DIM4 + column;
}

uint last_visible_key(uint token) { return step_state.position + (p.all_keys != 0 ? 0 : token); }

uint head_of(uint kv_head, uint row) {
  uint group = p.n_heads / p.n_kv_heads;
  return kv_head * group + row % group;
}

// Where a row's query begins, in fours.
uint query_of(uint kv_head, uint row) { return (row / (p.n_heads / p.n_kv_heads) * p.n_heads + head_of(kv_head, row)) * DIM4; }

// Where the partial result of a block of keys lies; there is one token.
uint partial_of(uint kv_head, uint row, uint block) { return (head_of(kv_head, row) * p.max_blocks + block) * (1 + VALUE4); }

// Whether all other workgroups of these rows have left their partial results, which can be read then.
bool last_to_arrive(uint kv_head, uint first_row) {
  memoryBarrierBuffer();
  barrier();
  uint counter = p.n_heads * p.max_blocks * (1 + VALUE4) * 4 + head_of(kv_head, first_row);
  if (gl_LocalInvocationID.x == 0) {
    arrivals = atomicAdd(arrived[counter], 1) + 1;
    if (arrivals == gl_NumWorkGroups.z) arrived[counter] = 0;
  }
  barrier();
  memoryBarrierBuffer();
  return arrivals == gl_NumWorkGroups.z;
}

// T5's bias (Raffel et al. 2020) of a key's distance from a query.
float bias_of(uint head, uint token, uint key) {
  int reach = int(p.bias_distance), at = int(p.all_keys != 0 ? token : step_state.position + token);
  return position_bias[head * (2 * p.bias_distance + 1) + uint(clamp(int(key) - at, -reach, reach) + reach)];
}

// Adds the products of four dimensions of a key and of KEY_QUERIES queries; query is these of query q.
#define ADD_DOTS(k, query) \
  [[unroll]] for (uint q = 0; q < KEY_QUERIES; ++q) { \
    vec4 v = query; \
    precise float d = dots[q]; \
    d = fma(k.x, v.x, d); \
    d = fma(k.y, v.y, d); \
    d = fma(k.z, v.z, d); \
    d = fma(k.w, v.w, d); \
    dots[q] = d; \
  }

void main() {
  uint lane = gl_LocalInvocationID.x, kv_head = gl_WorkGroupID.y, column = lane % COLUMNS;
  uint group = p.n_heads / p.n_kv_heads, n_rows = p.n_tokens * group, first_row = gl_WorkGroupID.x * QUERIES;
  uint rows = min(QUERIES, n_rows - first_row);
  uint last_position = last_visible_key((first_row + rows - 1) / group);
  uint n_blocks = last_position / KEY_BLOCK + 1;
  uint first_block = first_visible_key(p.span, step_state.position + first_row / group) / KEY_BLOCK;

#ifdef TEXELS
  uint query_base[QUERIES];
  [[unroll]] for (uint q = 0; q < QUERIES; ++q) query_base[q] = query_of(kv_head, first_row + min(q, rows - 1));
#else
  for (uint i = lane; i < QUERIES * DIM4; i += LANES)
    query[i] = query_at(query_of(kv_head, first_row + min(i / DIM4, rows - 1)) + i % DIM4);
  barrier();
#endif

  Running running[OWN_QUERIES];
  vec4 sum[OWN_SUMS];
  [[unroll]] for (uint i = 0; i < OWN_QUERIES; ++i) running[i] = Running(MINUS_INFINITY, 0.0);
  [[unroll]] for (uint i = 0; i < OWN_SUMS; ++i) sum[i] = vec4(0.0);

  if (SPLIT_KEYS != 0) first_block += gl_WorkGroupID.z;
  uint end_block = SPLIT_KEYS != 0 ? min(first_block + 1, n_blocks) : n_blocks;
  for (uint block = first_block; block < end_block; ++block) {
    uint first_key = block * KEY_BLOCK, n_keys = min(KEY_BLOCK, last_position + 1 - first_key);

    for (uint pair = lane; pair < KEY_BLOCK * KEY_LANES; pair += LANES) {
      uint key = pair % KEY_BLOCK, position = first_key + key;
      uint first_query = KEY_LANES == 1 ? 0 : pair / KEY_BLOCK * KEY_QUERIES;
      precise float dots[KEY_QUERIES];
      [[unroll]] for (uint q = 0; q < KEY_QUERIES; ++q) dots[q] = 0.0;
#ifdef TEXELS
      uint key_base = kv_head * DIM4 * p.capacity + min(position, last_position);
      for (uint first = 0; first < DIM4; first += 8) {
        vec4 own[QUERIES];
        [[unroll]] for (uint q = 0; q < QUERIES; ++q) own[q] = query_at(query_base[q] + min(first + lane, DIM4 - 1));
        [[unroll]] for (uint i = 0; i < 8; ++i) {
          if (first + i < DIM4) {
            vec4 k = key_at(key_base + (first + i) * p.capacity);
            ADD_DOTS(k, subgroupShuffle(own[q], i))
          }
        }
      }
#else
      if (key < n_keys) {
        for (uint i = 0; i < DIM4; ++i) {
          vec4 k = key_at((kv_head * DIM4 + i) * p.capacity + position);
          ADD_DOTS(k, query[(first_query + q) * DIM4 + i])
        }
      }
#endif
      [[unroll]] for (uint i = 0; i < KEY_QUERIES; ++i) {
        uint q = first_query + i, token = (first_row + q) / group, last = last_visible_key(token);
        bool visible = key < n_keys && position <= last && position >= first_visible_key(p.span, last);
        precise float s = dots[i] * p.scale;
        if (p.bias_distance != 0) s += bias_of(head_of(kv_head, first_row + q), token, position);
        score[q * KEY_BLOCK + key] = visible ? s : MINUS_INFINITY;
      }
      for (uint q = first_query; p.softcap > 0.0 && q < first_query + KEY_QUERIES; ++q) {
        float s = score[q * KEY_BLOCK + key];
        score[q * KEY_BLOCK + key] = s == MINUS_INFINITY ? s : p.softcap * tanh_of(s / p.softcap);
      }
    }
    barrier();

#ifdef TEXELS
    float most[QUERIES];
    [[unroll]] for (uint q = 0; q < QUERIES; ++q) {
      float own[KEY_BLOCK / 8], m = MINUS_INFINITY;
      [[unroll]] for (uint i = 0; i < KEY_BLOCK / 8; ++i) {
        own[i] = score[q * KEY_BLOCK + i * 8 + lane];
        m = max(m, own[i]);
      }
      [[unroll]] for (uint step = 1; step < 8; step *= 2) m = max(m, subgroupShuffleXor(m, step));
      [[unroll]] for (uint i = 0; i < KEY_BLOCK / 8; ++i)
        score[q * KEY_BLOCK + i * 8 + lane] = m == MINUS_INFINITY ? 0.0 : exp(own[i] - m);
      most[q] = m;
    }
#else
    for (uint q = lane; q < QUERIES; q += LANES) {
      float m = MINUS_INFINITY;
      for (uint key = 0; key < KEY_BLOCK; ++key) m = max(m, score[q * KEY_BLOCK + key]);
      maximum[q] = m;
    }
    barrier();
    for (uint i = lane; i < QUERIES * KEY_BLOCK; i += LANES) {
      float m = maximum[i / KEY_BLOCK];
      score[i] = m == MINUS_INFINITY ? 0.0 : exp(score[i] - m);
    }
#endif
    barrier();

    vec4 block_sum[OWN_SUMS];
    precise float block_l[OWN_QUERIES];
    [[unroll]] for (uint i = 0; i < OWN_SUMS; ++i) block_sum[i] = vec4(0.0);
    [[unroll]] for (uint i = 0; i < OWN_QUERIES; ++i) block_l[i] = 0.0;
    for (uint from = 0; from < n_keys; from += KEYS_AHEAD) {
#ifdef TEXELS
      float own[QUERIES];
      [[unroll]] for (uint q = 0; q < QUERIES; ++q) own[q] = score[q * KEY_BLOCK + from + lane];
#endif
      vec4 v[KEYS_AHEAD * OWN_COLUMNS];
      [[unroll]] for (uint j = 0; j < KEYS_AHEAD; ++j) {
        uint position = first_key + (KEYS_AHEAD == 1 ? from : min(from + j, n_keys - 1));  // a key after the last weighs 0
        [[unroll]] for (uint c = 0; c < OWN_COLUMNS; ++c)
          v[j * OWN_COLUMNS + c] = value_at(value_index(kv_head, position, min(column + c * COLUMNS, VALUE4 - 1)));
      }
      [[unroll]] for (uint j = 0; j < KEYS_AHEAD; ++j) {
        [[unroll]] for (uint i = 0; i < OWN_QUERIES; ++i) {
#ifdef TEXELS
          float weight = subgroupShuffle(own[i], j);
#else
          float weight = score[own_query(i) * KEY_BLOCK + from + j];
#endif
          block_l[i] += weight;
          [[unroll]] for (uint c = 0; c < OWN_COLUMNS; ++c) {
            precise vec4 added = fma(vec4(weight), v[j * OWN_COLUMNS + c], block_sum[i * OWN_COLUMNS + c]);
            block_sum[i * OWN_COLUMNS + c] = added;
          }
        }
      }
    }
    [[unroll]] for (uint i = 0; i < OWN_QUERIES; ++i) {
#ifdef TEXELS
      float m = most[i];
#else
      float m = maximum[own_query(i)];
#endif
      if (SPLIT_KEYS != 0) {
        running[i] = Running(m, block_l[i]);
        [[unroll]] for (uint c = 0; c < OWN_COLUMNS; ++c) sum[i * OWN_COLUMNS + c] = block_sum[i * OWN_COLUMNS + c];
      } else if (m != MINUS_INFINITY) {
        vec2 factors = merge_factors(running[i], m, block_l[i]);
        [[unroll]] for (uint c = 0; c < OWN_COLUMNS; ++c)
          sum[i * OWN_COLUMNS + c] = merge_values(sum[i * OWN_COLUMNS + c], block_sum[i * OWN_COLUMNS + c], factors);
      }
    }
    barrier();  // before the next block's scores overwrite this one's
  }

  if (SPLIT_KEYS != 0) {
    [[unroll]] for (uint i = 0; i < OWN_QUERIES; ++i) {
      uint q = lane / COLUMNS + i * QUERY_LANES, partial = partial_of(kv_head, first_row + q, first_block);
      bool mine = lane / COLUMNS < QUERY_LANES && q < rows;
      if (mine && column == 0) partials[partial] = vec4(running[i].m, running[i].l, 0.0, 0.0);
      [[unroll]] for (uint c = 0; c < OWN_COLUMNS; ++c)
        if (mine && column + c * COLUMNS < VALUE4) partials[partial + 1 + column + c * COLUMNS] = sum[i * OWN_COLUMNS + c];
    }
    if (!last_to_arrive(kv_head, first_row)) return;
    [[unroll]] for (uint i = 0; i < OWN_QUERIES; ++i) running[i] = Running(MINUS_INFINITY, 0.0);
    [[unroll]] for (uint i = 0; i < OWN_SUMS; ++i) sum[i] = vec4(0.0);
    for (uint block = first_block - gl_WorkGroupID.z; block < n_blocks; block += AHEAD) {
      vec4 reduced[AHEAD * OWN_QUERIES], block_sum[AHEAD * OWN_SUMS];
      [[unroll]] for (uint j = 0; j < AHEAD; ++j) {
        uint at = AHEAD == 1 ? block : min(block + j, n_blocks - 1);
        [[unroll]] for (uint i = 0; i < OWN_QUERIES; ++i) {
          uint row = first_row + min(own_query(i), rows - 1), partial = partial_of(kv_head, row, at);
          reduced[j * OWN_QUERIES + i] = partials[partial];
          [[unroll]] for (uint c = 0; c < OWN_COLUMNS; ++c)
            block_sum[j * OWN_SUMS + i * OWN_COLUMNS + c] = partials[partial + 1 + min(column + c * COLUMNS, VALUE4 - 1)];
        }
      }
      [[unroll]] for (uint j = 0; j < AHEAD; ++j) {
        [[unroll]] for (uint i = 0; i < OWN_QUERIES; ++i) {
          vec4 r = reduced[j * OWN_QUERIES + i];
          if (block + j < n_blocks && r.x != MINUS_INFINITY) {
            vec2 factors = merge_factors(running[i], r.x, r.y);
            [[unroll]] for (uint c = 0; c < OWN_COLUMNS; ++c)
              sum[i * OWN_COLUMNS + c] =
                  merge_values(sum[i * OWN_COLUMNS + c], block_sum[j * OWN_SUMS + i * OWN_COLUMNS + c], factors);
          }
        }
      }
    }
  }
  [[unroll]] for (uint i = 0; i < OWN_QUERIES; ++i) {
    uint q = lane / COLUMNS + i * QUERY_LANES, token = (first_row + q) / group, head = head_of(kv_head, first_row + q);
    bool mine = lane / COLUMNS < QUERY_LANES && q < rows;
    if (p.has_sinks != 0) {
      vec2 factors = merge_factors(running[i], sinks[head], 1.0);
      [[unroll]] for (uint c = 0; c < OWN_COLUMNS; ++c)
        sum[i * OWN_COLUMNS + c] = merge_values(sum[i * OWN_COLUMNS + c], vec4(0.0), factors);
    }
    [[unroll]] for (uint c = 0; c < OWN_COLUMNS; ++c) {
      uint at = column + c * COLUMNS;
      if (mine && at < VALUE4) outs[token * (p.out_stride / 4) + head * VALUE4 + at] = sum[i * OWN_COLUMNS + c] / running[i].l;
    }
  }
}
