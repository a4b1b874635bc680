// All memory of a session besides the weights: the KV cache, the state of a step and the activations of one pass.
#pragma once
#include <vector>

#include "moe/model.h"
#include "moe/ops/ops.h"

namespace vkmoe {

struct Activations {
  // Allocates for passes of up to chunk_tokens and a cache of capacity_tokens, with half_cache in fp16; everything starts as
  // zero. shapes_only: without any buffer, for a recording that records nothing.
  Activations(const Model& model, uint32_t capacity_tokens, uint32_t chunk_tokens, bool half_cache, bool shapes_only = false);

  uint32_t capacity, chunk;
  bool half_cache;
  uint32_t max_blocks;

  std::vector<Buffer> keys, values;  // by layer; no values with latent attention, one cache for all layers of an encoder
  std::vector<Buffer> cross_keys, cross_values;  // of the encoder's output, by layer of a decoder
  Buffer input_end;                  // a Step whose position is the last one of an encoder's input, for encoder and decoder
  Buffer cross_groups;               // of the dispatch of attention to the encoder's output
  Buffer positions;                  // (1 + capacity, hidden): sinusoidal; row 0 is zero
  Buffer angles;                     // (capacity, rotary_dim / 2, 2): cos, sin, scaled
  Buffer step, tokens, history, rule, ring;
  Buffer attention_groups;

  Rows x;          // (chunk, hidden): the residual stream
  Rows normed;     // (chunk, hidden)
  Rows qkv;        // (chunk, (n_heads + 2 n_kv_heads) * head_dim), or with latent attention (chunk, q_rank or heads of queries,
                   // kv_rank + rotary_dim)
  Rows q_latent;   // (chunk, q_rank), normed, with the stride of qkv
  Rows q_heads;    // (chunk, n_heads * (nope_dim + rotary_dim)); qkv's own columns where q_rank is 0
  Rows attended_latent;  // (chunk, n_heads * kv_rank)
  Buffer queries;  // (chunk, n_heads, head_dim)
  Rows attended;   // (chunk, attended_dim)
  Buffer partials;
  Rows router;     // (chunk, n_experts + 1)
  Routing routing;
  Rows expert_hidden;  // (chunk * (top_k + most_shared), expert_ff)
  Rows expert_out;     // as many, hidden
  Rows dense_hidden;   // (chunk, dense_ff); only with dense layers
  Rows shared_hidden;  // (chunk, shared_ff): this and the next of a shared expert apart
  Rows shared_out;     // (chunk, hidden)
  Rows shared_logit;   // (chunk, 1), then its sigmoid
  Buffer shared_ids, shared_weights;  // (chunk): always 0; sigmoid of the logit
  Buffer rounded_rows;  // what a matmul of many rows multiplies, as int8 or fp16 (round_rows())
  Buffer logits;       // (vocab): of the last row
  Buffer adjusted;     // (vocab): after the repetition penalty
  Buffer all_logits;   // (logits_rows, vocab)
  uint32_t logits_rows;

  Routing routing_for(uint32_t n_tokens, const DeviceLayer& layer) const;
  KvCache cache(uint32_t layer) const {
    const Buffer& k = keys[layer % keys.size()];
    return {k, values.empty() ? k : values[layer % values.size()], half_cache};
  }
  KvCache cross_cache(uint32_t layer) const { return {cross_keys[layer], cross_values[layer], half_cache}; }
};

// Bytes of keys and values of one token in one layer.
uint64_t kv_layer_bytes(const Hyper& h, bool half);

// Bytes that Activations takes for the cache, and for the rest, without making it. n_shared: Model::most_shared().
uint64_t kv_cache_bytes(const Hyper& h, uint32_t capacity_tokens, bool half);
uint64_t activation_bytes(const Hyper& h, uint32_t n_shared, uint32_t capacity_tokens, uint32_t chunk_tokens);

// Tokens per pass while feeding, when the caller does not choose.
uint32_t default_chunk_tokens(const Caps& caps);

}  // namespace vkmoe
