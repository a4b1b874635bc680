// What a model is, apart from any device: hyper-parameters and where each weight lies in the file. Made by an
// architecture (arch/*.cpp), read by the device model and by the CPU reference.
#pragma once
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "loader/model_file.h"
#include "moe/rope.h"
#include "shared/layer.h"
#include "shared/matmul.h"
#include "shared/route.h"

namespace vkmoe {

// Multi-head latent attention (DeepSeek-V2, section 2.1) in the absorbed form: the cache holds each token's latent and one
// rotary part, which all heads share, so attention sees one key-value head of kv_rank + rotary_dim dimensions, the first
// kv_rank of which are its value, too.
struct LatentAttention {
  uint32_t kv_rank = 0;    // of the latent that keys and values are made from; 0: no latent attention
  uint32_t q_rank = 0;     // of the latent that queries are made from; 0: they come from the hidden state
  uint32_t nope_dim = 0;   // dimensions of a head's query and key that are not turned; rotary_dim follow
  uint32_t value_dim = 0;  // of a head
  float epsilon = 1e-6f;   // of the latents' norms, whatever the other norms have

  bool operator==(const LatentAttention&) const = default;
};

// Of structs that kernels share: all members are 4 bytes, so there is no padding.
inline bool operator==(const GateRule& a, const GateRule& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
inline bool operator==(const KeySpan& a, const KeySpan& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
inline bool operator==(const Activation& a, const Activation& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

// What attention does in one layer.
struct LayerAttention {
  KeySpan span = {};
  bool rotary = true;
  bool normed = true;     // Hyper::qk_norm is done
  bool tempered = false;  // Hyper::temperature_* scale the queries

  bool operator==(const LayerAttention&) const = default;
};

struct Hyper {
  std::string architecture;  // "mixtral", "qwen3_moe"
  uint32_t n_layers = 0, hidden = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0, vocab = 0;
  uint32_t context_tokens = 0;  // the longest context that the model was made for
  float rms_epsilon = 0;
  double rope_theta = 10000;
  uint32_t rotary_dim = 0;
  RopeScaling rope_scaling;
  bool rope_interleaved = false;  // pairs (2i, 2i+1) instead of (i, i + rotary_dim/2)
  uint32_t norm = NORM_RMS;      // NORM_*: of the residual stream
  bool norm_bias = false;        // LayerNorm's; without: zeros
  bool tied_by_default = false;  // the embedding is the head where a folder has none and does not say so
  bool post_norms = false;       // RMSNorm of what attention and experts give to the residual stream (Grok-1)
  uint32_t qk_norm = QK_NORM_NONE;
  bool qk_norm_weights = true;  // false: the norms of queries and keys have none
  std::set<std::string> biased;  // roles of matrices with a bias: "q", "down", ...
  float qkv_clip = 0;            // bound of queries, keys and values before the rotation; 0: none
  LatentAttention latent;         // where used, n_kv_heads and head_dim are those of the cache
  float embedding_scale = 1, residual_scale = 1, logit_scale = 1;  // factors (Granite's multipliers)
  float attention_scale = 0;      // of query-key products; 0: 1 / sqrt(head_dim)
  float attention_softcap = 0;    // scores become softcap * tanh(score / softcap); 0: as they are
  uint32_t temperature_floor = 0;  // RopeParams
  float temperature_scale = 0;
  std::vector<LayerAttention> attention;  // by layer; left empty by an architecture where all are plain
  uint32_t n_experts = 0, top_k = 0, expert_ff = 0, dense_ff = 0, shared_ff = 0;
  GateRule gate = {};             // of layers with experts
  bool scaled_expert_input = false;  // an expert's weight multiplies its input, not its output (Llama 4)
  Activation activation = {};     // of all feed-forward layers
  std::vector<bool> layer_has_experts;
  std::map<std::string, nlohmann::json> gguf_keys;  // of a config.json: the same hyper-parameters as keys of a GGUF
  bool gated = true;  // feed-forward layers have a gate; else one matrix and the activation
  double capacity_fraction = 0;  // an expert's capacity as a part of a pass's tokens, rounded up; 0: GateRule::capacity

  // Encoder-decoder families.
  bool bidirectional = false;    // an encoder: every token sees all
  bool cross_attention = false;  // a decoder: its layers attend to the encoder's output, too
  uint32_t position_buckets = 0, position_distance = 0;  // T5's bias of attention scores by distance; 0: none
  bool sinusoidal = false;       // positions are added to the embedding, except to padding_id
  uint32_t padding_id = 0;
  std::vector<int32_t> decoder_prompt;  // ids that a decoder's text begins with

  bool operator==(const Hyper&) const = default;
  uint32_t cached_value_dim() const { return latent.kv_rank ? latent.kv_rank : head_dim; }
  uint32_t attended_dim() const { return n_heads * (latent.kv_rank ? latent.value_dim : head_dim); }  // inputs of o
};

// The gate of a pass with so many tokens.
GateRule gate_rule(const Hyper& h, uint32_t n_tokens);

// A matrix (or one per expert) as its rows lie in the file's tensors, which may be fused, sliced or one per expert.
struct Matrix {
  struct Span {
    const Tensor* tensor;
    uint64_t first_row;
    uint32_t rows, row_step;
    uint32_t column_step = 0;  // a transposed tensor: values of a row are so many apart, and first_row counts values
    uint32_t first_column = 0;  // of another; begins a block
  };
  uint32_t n = 0, k = 0;                  // rows (outputs), columns (inputs) of one expert
  std::vector<std::vector<Span>> experts;  // spans of each expert, in row order; one entry for a plain matrix
  std::vector<std::vector<Span>> bias;     // likewise, of rows of one value; empty: none
  const Format& format() const { return *experts[0][0].tensor->format; }
  bool one_format() const;
  // Row r of an expert in its format, which may be put together in scratch.
  const uint8_t* row(uint32_t expert, uint32_t r, const Format** format, std::vector<uint8_t>& scratch) const;
  std::vector<float> bias_values(uint32_t expert) const;  // (n)
  // A hint that rows first .. end - 1 of an expert have been read: pages of the file that hold them leave memory.
  void release(uint32_t expert, uint32_t first, uint32_t end) const;
  explicit operator bool() const { return !experts.empty(); }
};

struct NormSpec {
  const Tensor *weight = nullptr, *bias = nullptr;  // (hidden); no bias: zeros
};

struct LayerSpec {
  NormSpec attention_norm, ffn_norm;
  NormSpec attention_post_norm, ffn_post_norm;                  // with post_norms
  const Tensor *q_norm = nullptr, *k_norm = nullptr;            // (head_dim), or of all heads with QK_NORM_FULL
  const Tensor* sinks = nullptr;                                // (n_heads)
  const Tensor* router_bias = nullptr;                          // (n_experts): added for selection only
  NormSpec cross_norm;                                          // of a decoder's attention to its encoder's output
  Matrix cross_q, cross_k, cross_v, cross_o;
  Matrix shared_gate, shared_up, shared_down;                   // the expert that every token uses, if there is one
  Matrix shared_router;                                         // (1, hidden): its weight is sigmoid(w x); none: 1
  Matrix q, k, v;                                               // (heads * head_dim, hidden)
  Matrix o;                                                     // (hidden, attended_dim)
  // Latent attention: q is (n_heads * (nope_dim + rotary_dim), q_rank or hidden), k and v are made from the latent.
  Matrix q_a, kv_a;                                             // (q_rank, hidden), (kv_rank + rotary_dim, hidden)
  const Tensor *q_a_norm = nullptr, *kv_a_norm = nullptr;       // (q_rank), (kv_rank)
  Matrix k_b;                                                   // (n_heads, nope_dim, kv_rank), or
  bool k_b_transposed = false;                                  // (n_heads, kv_rank, nope_dim), as newer GGUFs keep it
  Matrix v_b;                                                   // (n_heads, value_dim, kv_rank)
  Matrix router;                                                // (n_experts, hidden); none in a dense layer
  Matrix gate, up;                                              // (experts or 1, ff, hidden); up where gated
  Matrix down;                                                  // (experts or 1, hidden, ff)
};

// A weight as it was found under its role (WeightNames::role), without its bias; fused ones whole.
struct NamedWeight {
  std::string role;
  uint32_t layer;        // 0 where no layer has its own
  Matrix rows;           // a vector: one row
  bool vector, experts;  // experts: of shape (experts, n, k)
};

// A model, or the decoder of an encoder-decoder model.
struct ModelSpec {
  std::shared_ptr<ModelFile> file;
  Hyper hyper;
  Matrix embedding;                     // (vocab, hidden)
  Matrix head;                          // (vocab, hidden); the embedding when tied
  bool tied_head = false;
  bool own_embedding = false;           // of an encoder-decoder model's stack: not that of the other
  NormSpec final_norm;
  const Tensor* position_bias = nullptr;  // (position_buckets, n_heads), for all layers
  std::vector<LayerSpec> layers;
  std::vector<NamedWeight> weights;     // all of the above, in the order of reading
  std::shared_ptr<ModelSpec> encoder;   // reads the input; its head means nothing
};

// The different spans of keys of a model's layers, and the one that a layer has, as an index into them.
std::vector<KeySpan> key_spans(const Hyper& h);
uint32_t key_span_index(const Hyper& h, uint32_t layer);

// Recognises the architecture and checks every tensor. Fails with VKMOE_ERROR_UNSUPPORTED (key and value) or
// VKMOE_ERROR_BAD_FILE (tensor, expected and found shape).
ModelSpec read_model_spec(std::shared_ptr<ModelFile> file);

struct ParameterCount {
  uint64_t total = 0, active = 0;       // active: those that work for one token (embedding lookups count one row)
  uint64_t weight_bytes = 0;            // of all tensors in use, in the file
  uint64_t decode_weight_bytes = 0;     // that one decoded token reads
};
ParameterCount count_parameters(const ModelSpec& spec);

}  // namespace vkmoe
