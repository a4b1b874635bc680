// Phi-3.5-MoE (Microsoft 2024), after transformers' modeling_phimoe.py: LayerNorm, sparsemixer routing, biases in attention
// and head, LongRoPE. A GGUF keeps neither the jitter of the routing nor LongRoPE's mscales.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

Hyper read(const ModelFile& file) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Hyper h = read_common(file, "phimoe.");
  Keys keys(file, "phimoe.", h);
  h.n_experts = keys.u32({"num_local_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  keys.note("rope.scaling.original_context_length", uint32_t(h.rope_scaling.original_context));
  if (h.top_k != 2) keys.refuse({"num_experts_per_tok", "expert_used_count"}, "sparsemixer chooses 2");
  h.expert_ff = keys.u32({"intermediate_size", "feed_forward_length"}, 1, 1 << 24);
  uint32_t window = keys.u32_or({"sliding_window", "attention.sliding_window"}, 0, 0, 1u << 30);
  h.attention.assign(h.n_layers, {.span = {.window = window}});
  h.norm = NORM_LAYER;
  h.norm_bias = true;
  read_attention_bias(file, keys, h);
  if (gguf ? file.find("output.bias") != nullptr : keys.flag_or("lm_head_bias", false)) h.biased.insert("head");
  h.gate = softmax_top_k(h.n_experts, h.top_k, false);
  h.gate.score = SCORE_LOGIT;
  h.gate.weight = WEIGHT_SPARSEMIXER;
  double jitter = gguf ? 0.01 : keys.number_or("router_jitter_noise", 0.01);
  if (!(jitter >= 0)) keys.refuse("router_jitter_noise", "expected a number of at least 0");
  h.gate.near = float(2 * jitter);
  h.layer_has_experts.assign(h.n_layers, true);
  return h;
}

}  // namespace

const Architecture phimoe_architecture = {
    "phimoe", "phimoe", "phimoe", read,
    with_common({
        {"rope_factors_long", "(none)", "rope_factors_long.weight"},
        {"rope_factors_short", "(none)", "rope_factors_short.weight"},
        {"attention_norm.bias", "model.layers.{L}.input_layernorm.bias", "blk.{L}.attn_norm.bias"},
        {"ffn_norm.bias", "model.layers.{L}.post_attention_layernorm.bias", "blk.{L}.ffn_norm.bias"},
        {"final_norm.bias", "model.norm.bias", "output_norm.bias"},
        {"router", "model.layers.{L}.block_sparse_moe.gate.weight", "blk.{L}.ffn_gate_inp.weight"},
        {"gate", "model.layers.{L}.block_sparse_moe.experts.{E}.w1.weight", "blk.{L}.ffn_gate_exps.weight"},
        {"up", "model.layers.{L}.block_sparse_moe.experts.{E}.w3.weight", "blk.{L}.ffn_up_exps.weight"},
        {"down", "model.layers.{L}.block_sparse_moe.experts.{E}.w2.weight", "blk.{L}.ffn_down_exps.weight"},
    }),
    {{"Phi-tiny-MoE", 3.8, 1.1}, {"Phi-mini-MoE", 7.6, 2.4}, {"Phi-3.5-MoE", 41.9, 6.6}},
    "safetensors, GGUF",
    "llama.cpp runs RMSNorm and a renormalised softmax where the model has LayerNorm and sparsemixer; its converter keeps "
    "LongRoPE's factors but not its mscales (1.19 instead of 1.24 for Phi-3.5-MoE). Beyond the original context transformers 5 "
    "goes on with the short factors; transformers 4, the release and vkmoe take the long ones. A session of vkmoe takes them "
    "for all of its tokens when it has room for more than the original context (`--context`), so that a token's logits do not "
    "change while the context grows."};

}  // namespace vkmoe
