// Interface of the routing kernels: router, gate, expert_capacity, expert_histogram, expert_scan, expert_scatter, combine.
#ifndef VKMOE_SHARED_ROUTE_H
#define VKMOE_SHARED_ROUTE_H
#include "shared/types.h"

#define GATE_MAX_EXPERTS 1024
#define GATE_MAX_TOP_K 64
#define GATE_MAX_GROUPS 64
#define GATE_MAX_LOGIT 1e38  // logits are clamped to this; NaN counts as the least, so that all weights are finite

#define SCORE_SOFTMAX 0
#define SCORE_SIGMOID 1
#define SCORE_SQRT_SOFTPLUS 2
#define SCORE_LOGIT 3  // select on the logits themselves

#define GROUP_MAX 0   // a group's score: its best expert (DeepSeek-V2)
#define GROUP_SUM2 1  // the sum of its two best (DeepSeek-V3)

#define WEIGHT_SCORE 0    // weight of a chosen expert: its score
#define WEIGHT_SOFTMAX 1  // softmax over the chosen logits (Granite, gpt-oss)
#define WEIGHT_SPARSEMIXER 2  // softmax over the logits near the chosen one, without those chosen before it (Phi-3.5-MoE)
#define WEIGHT_SIGMOID 3  // sigmoid of the chosen logits, whatever they were chosen by (Llama 4)

#define RENORMALIZE_NONE 0
#define RENORMALIZE_ALL 1   // weights are divided by the sum of all chosen
#define RENORMALIZE_KEPT 2  // by the sum of those that found room in their expert (NLLB)

// An expert takes at most `capacity` assignments of a pass; what comes later is dropped and contributes nothing. All first
// choices come before all second choices, and so on (GShard, Lepikhin et al. 2021); among equals, in the order of:
#define DROP_NONE 0
#define DROP_LATER 1     // tokens (Switch Transformers, Fedus et al. 2022)
#define DROP_UNLIKELY 2  // their best score, larger first, ties to the earlier token (batch-prioritised routing, Riquelme
                         // et al. 2021; NLLB)
#define DROP_UNCHOSEN 3  // their score for the expert: each expert chooses its `capacity` best tokens (expert choice, Zhou et
                         // al. 2022, with top_k = n_experts); ties to the earlier token
#define NO_EXPERT 0xffffffffu  // expert, or slot, of a dropped assignment

// Where a token's experts come from.
#define CHOOSE_BEST 0
#define CHOOSE_TABLE 1  // a table by token id (hash layers, Roller et al. 2021); weights are the scores all the same
#define CHOOSE_TREE 2   // the best top_groups groups by logits of their own, which follow those of the experts; in each group
                        // the best top_k / top_groups by logit. Weights: softmax over the chosen groups times softmax over
                        // the chosen of the group (two-level hierarchical mixture, Shazeer et al. 2017)
#define DRAW_NOISE 1    // third counter word of Philox, so that draws for different ends are independent
#define DRAW_SECOND 2

// How a token's router logits become experts and weights:
// s = score(logit); select on s + bias, inside the best groups; weight = s (or softmax of the chosen); optionally
// weight /= max(norm + denominator_add, denominator_min), where 0 counts as 1; weight *= scale. Ties go to the lower expert.
// Sparsemixer (Liu et al. 2024): the j-th chosen logit m weighs exp(m) / sum of exp(z) over logits z that were not chosen
// before and for which m - z <= near * max(|z|, m).
struct GateRule {
  uint n_experts;
  uint top_k;
  uint score;         // SCORE_*
  uint has_bias;      // selection bias, one per expert
  uint n_groups;      // 0 or 1: no groups
  uint top_groups;
  uint group_score;   // GROUP_*
  uint weight;        // WEIGHT_*
  uint renormalize;   // RENORMALIZE_*
  float denominator_add;
  float denominator_min;
  float scale;
  uint drop;            // DROP_*
  uint capacity;        // assignments that an expert takes of one pass, at least 1; read when drop is set
  uint expert_of_rank;  // 1: first choices go to expert 1, others to expert 0 (NLLB in transformers 5, arch/nllb_moe.cpp)
  float norm_power;    // the norm is sum(weight^p)^(1/p) with this p (DBRX); 0 or 1: the sum
  float near;          // of WEIGHT_SPARSEMIXER
  uint choose;         // CHOOSE_*
  uint noise;          // 1: logit += N(0, 1) * softplus(noise logit) first (noisy top-k, Shazeer et al. 2017); no bias then
  uint random_second;  // 1: a choice after the first of weight w stays with probability 2 w, else weighs 0 (GShard,
                       // Lepikhin et al. 2021); not together with drop
  uint seed_low, seed_high;  // of noise and random_second
};

struct GateParams {
  GateRule rule;
  uint n_tokens;
  uint logits_stride;  // floats
  uint first_token;    // number of the first token, as counter of random numbers
  uint n_shared;       // experts behind rule.n_experts that every token uses; their slots follow the top_k
  uint gated_shared;   // 1: they weigh sigmoid(the logit behind those of the experts); 0: 1
};

// RMSNorm, router and gate in one dispatch (router.comp); the rule chooses by CHOOSE_BEST and has no noise.
#define ROUTER_MAX_EXPERTS 256
struct RouterParams {
  GateRule rule;
  uint n_tokens;
  uint logits_stride;  // floats
  uint first_token;    // as in GateParams
  uint width;          // of the residual stream, a multiple of 32
  uint stride;         // floats between its rows, and between those of its norm
  uint tile_quads;     // 16-byte units of a tile of the router
  uint has_bias;       // 1: logits have a bias, and the rule has none
  float epsilon;
  uint n_shared, gated_shared;  // as in GateParams
};

#define SORT_CHUNK 128  // assignments that one workgroup counts
#define TILE_HEIGHTS 4  // tile lists: rows per tile are 1, 4, SortParams.whole_tile and 32
#define TILE_HEIGHT_0 1
#define TILE_HEIGHT_1 4
#define TILE_HEIGHT_2 8
#define TILE_HEIGHT_3 32

struct SortParams {
  uint n_assignments;  // tokens * (top_k + n_shared)
  uint n_chunks;       // ceil(n_assignments / SORT_CHUNK)
  uint n_experts;      // the shared ones, too
  uint tile_capacity;  // entries of each of the TILE_HEIGHTS tile lists
  uint whole_tile;     // TILE_HEIGHT_1 or TILE_HEIGHT_2
  uint tall_from;      // rows that deserve a tile of TILE_HEIGHT_3; 0xffffffff: none do
  uint groups_y[TILE_HEIGHTS * 2];  // second dimension of the dispatches over tiles: by height, gate-up and down
};

// Output of expert_scan: for each height the group counts of the gate-up and of the down matmul.
#define DISPATCH_WORDS 4  // x, y, z, padding

struct CombineParams {
  uint n_tokens;
  uint top_k;     // the shared ones, too
  uint width;     // values of a row
  uint stride4;   // vec4s between rows of the expert outputs
  uint x_stride4; // vec4s between rows of x
  uint direct;    // 1: slot of assignment a is a
  uint weighted;  // 0: all weights are 1 (the experts' inputs were scaled)
  float scale;    // of the sum
  uint add;       // 1: to what x holds; 0: x is overwritten
  uint norm;      // 1: normed = x / sqrt(mean(x^2) + epsilon) * norm_weight
  float epsilon;
};
#endif
