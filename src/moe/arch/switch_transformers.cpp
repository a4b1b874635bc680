// Switch Transformers (Fedus et al. 2022), after transformers' modeling_switch_transformers.py: a T5 encoder-decoder with
// relative position buckets, unscaled attention and ReLU; the one expert of a token may be full.
#include <cmath>

#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

// Layers with experts: every step-th, from the second of a step on; step 1: all; 0: none.
void set_sparse(Hyper& h, uint32_t step) {
  for (uint32_t i = 0; i < h.n_layers; ++i) h.layer_has_experts.push_back(step > 0 && (step == 1 || i % step == 1));
}

Hyper read_stack(const ModelFile& file, bool encoder) {
  Keys keys(file);
  Hyper h;
  uint32_t encoder_layers = keys.u32("num_layers", 1, 4096);
  h.n_layers = encoder ? encoder_layers : keys.u32_or("num_decoder_layers", encoder_layers, 1, 4096);
  h.hidden = keys.u32("d_model", 1, 1 << 20);
  h.n_heads = h.n_kv_heads = keys.u32("num_heads", 1, 4096);
  h.head_dim = keys.u32("d_kv", 1, 1024);
  h.expert_ff = h.dense_ff = keys.u32("d_ff", 1, 1 << 24);
  h.context_tokens = keys.u32_or("n_positions", 512, 1, 1u << 30);  // what it was trained with; buckets reach further
  h.rms_epsilon = float(keys.number_or("layer_norm_epsilon", 1e-6));
  h.attention_scale = 1;
  h.position_buckets = keys.u32_or("relative_attention_num_buckets", 32, 4, 4096);
  h.position_distance = keys.u32_or("relative_attention_max_distance", 128, 2, 1 << 16);
  h.tied_by_default = true;
  h.bidirectional = encoder;
  h.cross_attention = !encoder;
  keys.expect_text("dense_act_fn", "relu");
  keys.expect_text("router_dtype", "float32");
  h.gated = false;
  h.activation.kind = ACTIVATION_RELU;
  if (keys.flag_or("router_bias", false)) h.biased = {"router"};
  h.n_experts = keys.u32("num_experts", 1, GATE_MAX_EXPERTS);
  h.top_k = 1;
  h.gate = softmax_top_k(h.n_experts, 1, false);
  h.gate.drop = DROP_LATER;
  h.gate.capacity = keys.u32_or("expert_capacity", 64, 1, 1u << 30);
  const char* sparse = encoder ? "num_sparse_encoder_layers" : "num_sparse_decoder_layers";
  uint32_t n_sparse = keys.u32_or(sparse, 3, 0, 4096);
  set_sparse(h, keys.u32_or(encoder ? "encoder_sparse_step" : "decoder_sparse_step",
                            n_sparse ? h.n_layers / n_sparse : h.n_layers, 0, 4096));
  if (keys.flag_or("tie_word_embeddings", true)) h.logit_scale = 1 / std::sqrt(float(h.hidden));
  set_decoder_prompt(file, h, 0);
  check_attention_sizes(file, h);
  return h;
}

#define STACK(NAME, FF) \
  {"embedding", "shared.weight", ""}, {"own_embedding", NAME ".embed_tokens.weight", ""}, {"head", "lm_head.weight", ""}, \
  {"final_norm", NAME ".final_layer_norm.weight", ""}, \
  {"position_bias", NAME ".block.0.layer.0.SelfAttention.relative_attention_bias.weight", ""}, \
  {"attention_norm", NAME ".block.{L}.layer.0.layer_norm.weight", ""}, \
  {"q", NAME ".block.{L}.layer.0.SelfAttention.q.weight", ""}, \
  {"k", NAME ".block.{L}.layer.0.SelfAttention.k.weight", ""}, \
  {"v", NAME ".block.{L}.layer.0.SelfAttention.v.weight", ""}, \
  {"o", NAME ".block.{L}.layer.0.SelfAttention.o.weight", ""}, \
  {"ffn_norm", NAME ".block.{L}.layer." FF ".layer_norm.weight", ""}, \
  {"router", NAME ".block.{L}.layer." FF ".mlp.router.classifier.weight", ""}, \
  {"router.bias", NAME ".block.{L}.layer." FF ".mlp.router.classifier.bias", ""}, \
  {"gate", NAME ".block.{L}.layer." FF ".mlp.experts.expert_{E}.wi.weight", ""}, \
  {"down", NAME ".block.{L}.layer." FF ".mlp.experts.expert_{E}.wo.weight", ""}, \
  {"dense_gate", NAME ".block.{L}.layer." FF ".mlp.wi.weight", ""}, \
  {"dense_down", NAME ".block.{L}.layer." FF ".mlp.wo.weight", ""}

const Architecture encoder = {"switch_transformers encoder", "", "",
                              [](const ModelFile& file) { return read_stack(file, true); }, {STACK("encoder", "1")}};

}  // namespace

const Architecture switch_transformers_architecture = {
    "switch_transformers", "switch_transformers", "", [](const ModelFile& file) { return read_stack(file, false); },
    {STACK("decoder", "2"),
     {"cross_norm", "decoder.block.{L}.layer.1.layer_norm.weight", ""},
     {"cross_q", "decoder.block.{L}.layer.1.EncDecAttention.q.weight", ""},
     {"cross_k", "decoder.block.{L}.layer.1.EncDecAttention.k.weight", ""},
     {"cross_v", "decoder.block.{L}.layer.1.EncDecAttention.v.weight", ""},
     {"cross_o", "decoder.block.{L}.layer.1.EncDecAttention.o.weight", ""}},
    {{"Switch-base-8", 0.62, 0.22}, {"Switch-base-128", 7.4, 0.22}, {"Switch-base-256", 14.7, 0.22}, {"Switch-large-128", 26.3, 0.74}},
    "safetensors",
    "llama.cpp has T5 but no such architecture.",
    false, &encoder};

}  // namespace vkmoe
