// Interface of the kernels around the experts: embed, add_positions, rmsnorm, layernorm, rope_cache, latent_cache, attention.
#ifndef VKMOE_SHARED_LAYER_H
#define VKMOE_SHARED_LAYER_H
#include "shared/types.h"

// State of a pass over the model, in device memory, so that a recording can be replayed.
struct Step {
  uint position;  // of the first row of this pass = tokens in the cache before it
  uint next;      // position of the first row of the pass to come
  uint sampled;   // tokens sampled since the host last set this
  uint padding;
};

// Which of the keys before it a query sees besides itself: the latest, or those of its own chunk of positions.
struct KeySpan {
  uint window;  // keys with itself at most; 0: all
  uint chunk;   // positions of a chunk; 0: all are one
};

#define MAX_KEY_SPANS 8  // different ones in a model

struct BeginStepParams {
  uint groups_x, groups_y;  // of the attention dispatches with one token
  uint advance;             // 1: go on to the next position
  uint n_spans;
  KeySpan spans[MAX_KEY_SPANS];
};

struct EmbedParams {
  uint n_tokens;
  uint blocks;       // of a row
  uint tile_quads;
  uint tail_word;
  uint shard_first;  // first tile of the bound shard; tokens of others are left alone
  uint shard_tiles;
  uint y_stride;     // floats
  uint row_tiles;
  float scale;
};

struct PositionParams {
  uint width;       // values of a row
  uint stride;      // floats between rows
  uint padding_id;  // a token that has no position
};

// Norms of the residual stream.
#define NORM_RMS 0
#define NORM_LAYER 1  // LayerNorm

struct NormParams {
  uint n_rows;
  uint x_first;   // first row of x
  uint width;     // values of a row
  uint stride;    // floats between rows
  float epsilon;
  uint add;       // 1: y += instead of y = (rmsnorm)
};

// RMSNorm of queries and keys.
#define QK_NORM_NONE 0
#define QK_NORM_HEAD 1        // per head, before the rotation
#define QK_NORM_FULL 2        // over all heads together, before the rotation (OLMoE, MiniMax-M2)
#define QK_NORM_AFTER_ROPE 3  // per head, after the rotation (Hunyuan)

// Queries and keys: optional RMSNorm and bounds, rotary embedding, then keys and values go to the cache.
struct RopeParams {
  uint n_tokens;
  uint n_heads;      // query heads
  uint n_kv_heads;
  uint head_dim;
  uint rotary_dim;   // first dimensions of a head that are turned; even
  uint interleaved;  // 1: pairs (2i, 2i+1); 0: pairs (i, i + rotary_dim/2)
  uint qkv_stride;   // floats between rows: queries, keys, values one after the other
  uint capacity;     // tokens of the cache
  uint norm;         // QK_NORM_*
  float epsilon;
  float clip;        // before the rotation all are kept within -clip .. clip; 0: as they are
  // Queries times 1 + temperature_scale * log(1 + floor((position + 1) / temperature_floor)) (Nakanishi 2025); 0: as they are.
  uint temperature_floor;
  float temperature_scale;
};

// Latent attention: latents to the cache, rotary parts of the queries to their places.
struct LatentParams {
  uint n_tokens;
  uint n_heads;
  uint kv_rank;        // latent of a key, normed on its way to the cache
  uint rotary_dim;     // behind it in keys and queries; even
  uint interleaved;    // as in RopeParams
  uint latent_stride;  // floats between rows of latents
  uint latent_column;  // where the key-value latent begins in a row; the key's rotary part follows
  uint q_stride;       // floats between rows of queries by head
  uint q_head;         // floats of a head; the last rotary_dim are turned
  uint capacity;       // tokens of the cache
  float epsilon;
};

#define KEY_BLOCK 32  // keys that are reduced together; blocks are merged in order, so every split gives the same bits

struct AttentionParams {
  uint n_tokens;
  uint n_heads;
  uint n_kv_heads;
  uint head_dim;    // of queries and keys
  uint value_dim;   // less than head_dim: values are the first dimensions of the keys
  uint capacity;
  uint out_stride;  // floats between tokens of the output
  KeySpan span;
  uint has_sinks;   // 1: a logit per head takes part in the softmax, with no value (Xiao et al. 2023)
  uint all_keys;    // 1: every query sees the keys up to Step::position, and row i is at position i (encoders, and decoders
                    // that attend to an encoder's output)
  uint bias_distance;  // T5's position bias reaches so far either way, where it stays as it is; 0: no bias
  uint max_blocks;  // partial results per query (split)
  float scale;
  float softcap;    // scores become softcap * tanh(score / softcap); 0: as they are
};
#endif
