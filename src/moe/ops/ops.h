// Records each kernel's work: one function per operation, in a file of the kernel's name. All shapes are outermost first,
// all values float32 unless said otherwise.
#pragma once
#include <optional>

#include "moe/weights.h"
#include "runtime/kernel.h"
#include "runtime/recording.h"
#include "shared/layer.h"
#include "shared/matmul.h"
#include "shared/roofline.h"
#include "shared/route.h"
#include "shared/sample.h"

namespace vkmoe {

// What workgroups of 32 rows of x multiply: float32, or what is rounded first, where the weights' format has such a kernel: to
// int8 (matmul_int8.comp) or fp16 (matmul_coopmat.comp).
enum class Products { exact, int8, fp16 };
const char* products_name(Products products);  // "float32", "int8", "fp16"

// Shapes of workgroups, chosen by what the device is. Only products and half_cache change a result.
struct Tuning {
  struct Matmul {
    uint32_t lane_rows, split, pairs;  // rows of an invocation, invocations for a row, (pairs of) tiles of a workgroup
  };
  bool texels;                  // weights, x and caches are read as texel buffers
  uint32_t whole_tile;              // rows of x in a workgroup: TILE_HEIGHT_2, or TILE_HEIGHT_1 where registers are few
  Matmul matmul[TILE_HEIGHTS - 1];  // by rows of x in a workgroup: 1, 4, whole_tile; and 32:
  struct Staged {
    uint32_t lanes, lane_rows;  // invocations of a workgroup, 64 or 128, and rows of W of each; lanes 0: not used
    uint32_t from;              // rows of x that deserve such a workgroup
  } staged;
  Products products;
  struct Int8 {
    uint32_t lanes = 64, lane_rows = 8;  // of matmul_int8.comp, as staged has them for the others
  } int8;
  uint32_t exact_halves;  // 1: fp16 is converted by unpackHalf2x16 (Caps::exact_halves)
  bool storage16;         // formats of fp16 are loaded as such (Caps::exact_storage16), but by the kernels for 32 rows of x
  uint32_t most_rows = 0xffffffffu;  // of W that an invocation may own: else a workgroup has fewer tiles, or it fewer rows
  uint32_t staged_from() const { return staged.lanes ? staged.from : 0xffffffffu; }
  bool half_cache;              // keys and values are kept as fp16: half the bytes of a long context
  bool share_keys;              // attention of one token: workgroups share its keys, and the last one merges
  uint32_t attention_sums;      // vec4s of values, twice, that an invocation of attention may hold
  uint32_t attention_ahead;     // values that it loads before the first is used
  uint32_t lanes;               // of kernels that share a token's experts among invocations
  uint32_t head_lanes;          // of kernels that share a head of up to 256 dimensions
  uint32_t row_lanes;           // of kernels that own a row of the residual stream
  uint32_t sample_lanes;
  uint64_t fused_router_bytes;  // norm, router and gate are one dispatch while its workgroups, one a token, read no more weights
  // Loop iterations that an invocation may make. Mesa's llvmpipe silently ends an invocation's loops after 65,535 in all.
  uint32_t most_iterations;
  // Keys that one invocation of attention may walk over: a block of them takes it up to head_dim + 160 iterations.
  uint64_t most_walked_keys(uint32_t head_dim) const { return uint64_t(most_iterations) / (head_dim + 160) * KEY_BLOCK; }
  static Tuning of(const Caps& caps);
  static Tuning cpu(const Caps& caps);
  static Tuning gpu(const Caps& caps);
};

// Where the ops of a pass record to.
struct Recorder {
  Device& device;
  Recording& recording;
  const Tuning& tuning;
};

// Rows of a matrix in a buffer: row i begins at float i * stride.
struct Rows {
  BufferView view;
  uint32_t stride = 0;
};

// y[i] = scale * E[tokens[i]]: tokens (n_tokens) u32, y (n_tokens, stride).
void embed(Recorder& r, const Weight& table, BufferView tokens, Rows y, uint32_t n_tokens, float scale);

// x[i] += table[count of the tokens up to i that are no padding]: tokens (n_tokens) u32, table (1 + positions, width).
void add_positions(Recorder& r, BufferView step, BufferView tokens, BufferView table, Rows x, uint32_t n_tokens,
                   uint32_t width, uint32_t padding_id);

// What matmul() and expert_matmul() of up to n_rows rows (of one expert) multiply, and want rows of x as.
Products products_of(const Recorder& r, const Weight& weight, uint32_t n_rows);
// Bytes of n_rows rows of k values as such (shared/matmul.h), and rows 0 .. n_rows - 1 of x as such.
uint64_t rounded_rows_bytes(Products products, uint64_t n_rows, uint32_t k);
void round_rows(Recorder& r, Products products, Rows x, BufferView y, uint32_t n_rows, uint32_t k);

// y = W x + bias for rows x_first .. x_first + n_rows - 1 of x, written to rows 0 .. of y from y_column on.
struct DenseMatmul {
  const Weight& weight;
  Rows x, y;
  uint32_t n_rows = 1, x_first = 0, y_column = 0;
  uint32_t epilogue = EPILOGUE_STORE;
  float scale = 1;
  std::optional<BufferView> rounded_x;  // x by round_rows(), read in its place where products_of() says so; not with x_batch
  uint32_t x_batch = 0, y_batch = 0;  // weight has several matrices (heads): floats between their columns of x, and of y
  Activation activation = {};
};
void matmul(Recorder& r, const DenseMatmul& call);

// Which experts the rows of a pass go to: made by route(), used by expert_matmul() and combine().
struct Routing {
  uint32_t n_tokens = 0, top_k = 0, tile_capacity = 0;
  uint32_t n_shared = 0;       // experts behind the rule's that every token uses; not with a capacity or CHOOSE_TREE
  bool gated_shared = false;   // they weigh sigmoid(the logit behind those of the experts); else 1
  uint32_t first_token = 0;    // number of the first token, for rules with random numbers
  BufferView tokens, table;    // (n_tokens) u32 and (vocab, top_k) u32: expert; read with CHOOSE_TABLE
  BufferView chosen, scores;   // (n_tokens, top_k), as ids and weights, before a rule with a capacity drops some
  BufferView ids;      // (n_tokens, uses) u32, best first, then the shared ones
  BufferView weights;  // (n_tokens, uses)
  BufferView counts;   // (chunks, n_experts + n_shared) u32
  BufferView offsets;  // (n_experts + n_shared + 1) u32
  BufferView sorted, slot_of;  // (n_tokens * uses) u32
  BufferView tiles;    // (TILE_HEIGHTS, tile_capacity, 4) u32
  BufferView groups;   // (TILE_HEIGHTS, 2, DISPATCH_WORDS) u32
  bool in_order = false;       // slots are assignments, with any number of tokens
  uint32_t uses() const { return top_k + n_shared; }  // experts that a token goes to
  bool direct() const { return n_tokens == 1 || in_order; }  // one token: its assignments are its tiles
};

// Workgroups over rows of the gate-up and down matmuls, by height of their tiles.
struct MatmulGroups {
  uint32_t rows[TILE_HEIGHTS][2];
};
MatmulGroups matmul_groups(Recorder& r, const Weight& gate_up, const Weight& down);

// logits (n_tokens, stride) -> ids and weights. bias (n_experts) is read when the rule has one; with rule.noise it holds the
// noise logits, (n_tokens, stride). With CHOOSE_TREE a row is n_experts logits, then n_groups.
void choose_experts(Recorder& r, const GateRule& rule, Rows logits, BufferView bias, const Routing& routing);

// chosen and scores -> ids and weights, by the rule's capacity.
void limit_to_capacity(Recorder& r, const GateRule& rule, const Routing& routing);

// choose_experts() and the rule's capacity, and with more than one token also the counting sort and the tile lists.
// groups: of the two matmuls that follow.
void route(Recorder& r, const GateRule& rule, Rows logits, BufferView bias, const Routing& routing,
           const MatmulGroups& groups);

// The counting sort and the tile lists of what route() chose from n_experts, for more than one token.
void sort_by_expert(Recorder& r, uint32_t n_experts, const Routing& routing, const MatmulGroups& groups);

// rmsnorm() of rows 0 .. of x, the router's matmul() and choose_experts(), in one dispatch with the same bits.
struct FusedRouter {
  const GateRule& rule;
  const Weight& weight;    // (n_experts, width), F32
  Rows x, normed, logits;  // x and normed have the same stride
  BufferView norm;         // (width)
  BufferView bias;         // (n_experts), read when the rule has one
  float epsilon;
};
// Whether the kernel takes such a rule and router, and these are so small that it is the faster way.
bool fuses_router(const Recorder& r, const GateRule& rule, const Weight& weight, uint32_t n_tokens);
void norm_and_choose(Recorder& r, const FusedRouter& call, const Routing& routing);

// y[slot] = W_expert(slot) x[row of slot].
struct ExpertMatmul {
  const Weight& weight;
  Rows x, y;
  const Routing& routing;
  uint32_t use;               // 0 gate-up: rows of x are tokens; 1 down: rows of x are slots
  bool scaled_input = false;  // x counts times the weight of its assignment
  uint32_t epilogue = EPILOGUE_STORE;
  Activation activation = {};
  std::optional<BufferView> rounded_x;  // as in DenseMatmul
};
void expert_matmul(Recorder& r, const ExpertMatmul& call);

// RMSNorm that combine() makes of its result: rows as x's.
struct CombinedNorm {
  BufferView weight;
  Rows y;
  float epsilon;
};
// x[t] += scale * sum over j of weights[t, j] * y[slot of (t, j)]; with add = false x[t] = that. weighted: else the weights
// count as 1. norm: nullptr, or what becomes of x next.
void combine(Recorder& r, Rows x, Rows y, uint32_t width, const Routing& routing, float scale, bool add = true,
             bool weighted = true, const CombinedNorm* norm = nullptr);

// y = x / sqrt(mean(x^2) + epsilon) * weight for rows x_first .. x_first + n_rows - 1 of x; add: y += instead.
void rmsnorm(Recorder& r, Rows x, BufferView weight, Rows y, uint32_t n_rows, uint32_t x_first, uint32_t width, float epsilon,
             bool add = false);

// y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias for the same rows; weights (2, width): then biases.
void layernorm(Recorder& r, Rows x, BufferView weights, Rows y, uint32_t n_rows, uint32_t x_first, uint32_t width,
               float epsilon);

struct KvCache {
  BufferView keys;    // (n_kv_heads, head_dim / 4, capacity, 4)
  BufferView values;  // (n_kv_heads, capacity, head_dim); with latent attention the keys again
  bool half = false;  // fp16, rounded to nearest; else float32
};

void rope_cache(Recorder& r, BufferView step, Rows qkv, BufferView norms, BufferView angles, BufferView queries,
                const KvCache& cache, const RopeParams& params);

// Rows of latents from params.latent_column on -> cache; rotary parts of q_heads -> queries (shared/layer.h).
void latent_cache(Recorder& r, BufferView step, Rows latents, Rows q_heads, BufferView norm, BufferView angles,
                  BufferView queries, const KvCache& cache, const LatentParams& params);

// Keys that the query at a position sees, first and end (shaders/lib/key_span.glsl).
std::pair<uint32_t, uint32_t> visible_keys(const KeySpan& span, uint32_t at);

// Words of attention()'s partials: the results of blocks of keys, (n_heads, max_blocks, 4 + value_dim), then (n_heads) u32 that
// count who left theirs: 0 before the first dispatch, and again after each.
uint64_t attention_partials(uint32_t n_heads, uint32_t max_blocks, uint32_t value_dim);

// queries (n_tokens, n_heads, head_dim) -> y (n_tokens, n_heads * value_dim). With one token the blocks of keys may be shared
// out; groups then holds their number (begin_step.comp) and partials their results.
// sinks (n_heads) is read when params.has_sinks, position_bias (n_heads, 2 bias_distance + 1) with a bias_distance.
void attention(Recorder& r, BufferView step, BufferView queries, const KvCache& cache, Rows y, BufferView partials,
               BufferView groups, BufferView sinks, BufferView position_bias, const AttentionParams& params);
// groups: (spans, 4) u32, for attention() with one token.
void begin_step(Recorder& r, BufferView step, BufferView groups, uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim,
                const std::vector<KeySpan>& spans, bool advance);

struct SampleBuffers {
  BufferView rule, logits, adjusted, step, history, tokens, ring;
};
void sample(Recorder& r, const SampleBuffers& buffers, uint32_t vocab);

// What a device can do (moe/roofline.h). quads (groups, STREAM_READS, lanes, 4) u32 -> sums (groups, lanes) u32: the words
// that an invocation read, added up, wrapping.
void stream_read(Recorder& r, BufferView quads, BufferView sums, uint32_t groups, uint32_t lanes, bool texels);

// values (groups, lanes, MULTIPLY_ADD_VALUES): v = v * factor + addend, params.rounds * MULTIPLY_ADD_STEPS times.
void multiply_add(Recorder& r, BufferView values, uint32_t groups, uint32_t lanes, const MultiplyAddParams& params);

}  // namespace vkmoe
