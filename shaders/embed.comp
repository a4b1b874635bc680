// Rows of the embedding table for the tokens of a pass: y[i] = scale * E[tokens[i]].
// A workgroup owns one token; its invocations share the blocks of the row.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "shared/layer.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 32;
layout(constant_id = 1) const uint EXACT_HALVES = 0;  // lib/half.glsl

layout(binding = 1) readonly buffer Tokens { uint tokens[]; };  // (n_tokens) u32
layout(binding = 2) writeonly buffer Y { vec4 y[]; };           // (n_tokens, y_stride) f32
layout(push_constant) uniform Push { EmbedParams p; };

#include "lib/half.glsl"
#include "quant/format.glsl"

void main() {
  uint token = tokens[gl_WorkGroupID.x];
  uint tile = token / TILE_ROWS - p.shard_first;  // wraps above shard_tiles when the row lies in an earlier shard
  if (tile < p.shard_tiles) {
    uint first = tile * p.tile_quads;
    for (uint block = gl_LocalInvocationID.x; block < p.blocks; block += LANES) {
      Block b = block_load(first, first * 4 + p.tail_word, block, token % TILE_ROWS);
      [[unroll]] for (uint i = 0; i < BLOCK_ELEMS / 4; ++i)
        y[gl_WorkGroupID.x * (p.y_stride / 4) + block * (BLOCK_ELEMS / 4) + i] = p.scale * block_values(b, i);
    }
  }
}
