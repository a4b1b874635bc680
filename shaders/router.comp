// Between a layer's attention and its experts, in one dispatch: RMSNorm of the residual stream (rmsnorm.comp), the router's
// logits (matmul.comp) and the choice of experts (gate.comp), with the same bits as these. A workgroup owns one token.
// The router is F32. With TEXELS defined its weights are a texel buffer, and each of eight invocations norms an eighth of
// what they need of x and hands it round, as in matmul.comp.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef TEXELS
#extension GL_KHR_shader_subgroup_shuffle : require
#endif
#include "shared/formats.h"
#include "shared/matmul.h"
#include "shared/route.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 64;  // with TEXELS a multiple of eight
layout(constant_id = 1) const uint EXPERTS = ROUTER_MAX_EXPERTS;  // at least rows of the router; a multiple of eight

layout(binding = 1) readonly buffer X { float x[]; };               // (n_tokens, stride) f32
layout(binding = 1) readonly buffer X4 { vec4 x4[]; };
layout(binding = 2) readonly buffer NormWeight { float norm_weight[]; };  // (width) f32
layout(binding = 2) readonly buffer NormWeight4 { vec4 norm_weight4[]; };
layout(binding = 3) writeonly buffer Normed { float normed[]; };    // (n_tokens, stride) f32
layout(binding = 4) writeonly buffer Logits { float logits[]; };    // (n_tokens, logits_stride) f32
layout(binding = 5) readonly buffer Bias { float bias[]; };         // (n_experts) f32: of the logits with p.has_bias, of the
                                                                    // choice with rule.has_bias
layout(binding = 6) writeonly buffer Ids { uint ids[]; };           // (n_tokens, top_k + n_shared) u32, best first
layout(binding = 7) writeonly buffer Weights { float weights[]; };  // (n_tokens, top_k + n_shared) f32
layout(push_constant) uniform Push { RouterParams p; };

#include "lib/gate.glsl"
#include "lib/rms.glsl"
#include "lib/weights.glsl"
#include "quant/f32.glsl"

shared float partial[EXPERTS * MATMUL_SEGMENTS];  // (expert, segment)

uint router_rows() { return p.rule.n_experts + p.gated_shared; }

float norm_scale(uint lane, uint row) {
  precise float squares = 0.0;
  for (uint i = lane; i < p.width; i += LANES) squares = fma(x[row + i], x[row + i], squares);
  return rms_scale(workgroup_sum(squares), p.width, p.epsilon);
}

vec4 normed_at(uint row, uint i, float scale) {
  precise vec4 value = x4[row / 4 + i] * scale * norm_weight4[i];
  return value;
}

// Sums of all segments of all experts' logits; eight invocations side by side own eight rows of the router.
void sum_segments(uint lane, uint row, float scale) {
  uint blocks = p.width / 32, segment_blocks = (blocks + MATMUL_SEGMENTS - 1) / MATMUL_SEGMENTS;
  uint n_sums = (router_rows() + STRIP_ROWS - 1) / STRIP_ROWS * STRIP_ROWS * MATMUL_SEGMENTS;
  for (uint i = lane; i < n_sums; i += LANES) {
    uint expert = i / (STRIP_ROWS * MATMUL_SEGMENTS) * STRIP_ROWS + i % STRIP_ROWS, segment = i / STRIP_ROWS % MATMUL_SEGMENTS;
    uint tile = expert / TILE_ROWS * p.tile_quads, end = min((segment + 1) * segment_blocks, blocks);
    precise float sum = 0.0;
    for (uint block = segment * segment_blocks; block < end; ++block) {
      Block b = block_load(tile, 0, block, expert % TILE_ROWS);
#ifdef TEXELS
      vec4 own = normed_at(row, block * 8 + lane % 8, scale);
      precise float before = sum;
      sum = 0.0;
#endif
      [[unroll]] for (uint j = 0; j < 8; ++j) {
#ifdef TEXELS
        vec4 v = subgroupShuffle(own, j);
#else
        vec4 v = normed_at(row, block * 8 + j, scale);
#endif
        vec4 w = block_values(b, j);
        sum = fma(w.x, v.x, sum);
        sum = fma(w.y, v.y, sum);
        sum = fma(w.z, v.z, sum);
        sum = fma(w.w, v.w, sum);
      }
#ifdef TEXELS
      sum += before;
#endif
    }
    partial[expert * MATMUL_SEGMENTS + segment] = sum;
  }
}

void main() {
  uint lane = gl_LocalInvocationID.x, token = gl_WorkGroupID.x, row = token * p.stride;
  float scale = norm_scale(lane, row);
  for (uint i = lane; i < p.width; i += LANES) {
    precise float value = x[row + i] * scale * norm_weight[i];
    normed[row + i] = value;
  }
  sum_segments(lane, row, scale);
  barrier();
  for (uint e = lane; e < router_rows(); e += LANES) {
    precise float logit = 0.0;
    for (uint segment = 0; segment < MATMUL_SEGMENTS; ++segment) logit += partial[e * MATMUL_SEGMENTS + segment];
    if (p.has_bias != 0) logit += bias[e];
    logits[token * p.logits_stride + e] = logit;
    if (e < p.rule.n_experts) score[e] = finite_logit(logit);
    else shared_logit = finite_logit(logit);
  }
  barrier();
  score_experts(lane);
  uint to = first_use(token);
  choose_best(lane, to);
  barrier();
  write_weights(lane, to);
}
