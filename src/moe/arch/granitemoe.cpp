// Granite 3.x MoE (IBM 2024), after transformers' modeling_granitemoe.py and modeling_granitemoeshared.py: top-k, then softmax over the chosen; multipliers
// on embedding, residual stream, attention and logits; gate and up fused. GGUF rows of queries and keys are permuted for
// interleaved rotary pairs.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

Hyper read(const ModelFile& file) {
  Hyper h = read_common(file, "granitemoe.");
  Keys keys(file, "granitemoe.", h);
  read_attention_bias(file, keys, h);
  h.n_experts = keys.u32({"num_local_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"intermediate_size", "feed_forward_length"}, 1, 1 << 24);
  h.embedding_scale = float(keys.number_or({"embedding_multiplier", "embedding_scale"}, 1));
  h.residual_scale = float(keys.number_or({"residual_multiplier", "residual_scale"}, 1));
  h.attention_scale = float(keys.number_or({"attention_multiplier", "attention.scale"}, 1));
  double logits_scaling = keys.number_or({"logits_scaling", "logit_scale"}, 1);
  if (!(logits_scaling > 0)) keys.refuse({"logits_scaling", "logit_scale"}, "expected a positive number");
  h.logit_scale = float(1 / logits_scaling);
  h.shared_ff = keys.u32_or({"shared_intermediate_size", "expert_shared_feed_forward_length"}, 0, 0, 1 << 24);
  h.gate = softmax_top_k(h.n_experts, h.top_k, false);
  h.gate.score = SCORE_LOGIT;
  h.gate.weight = WEIGHT_SOFTMAX;
  h.layer_has_experts.assign(h.n_layers, true);
  return h;
}

}  // namespace

const Architecture granitemoe_architecture = {
    "granitemoe", "granitemoe|granitemoeshared", "granitemoe", read,
    with_common({
        {"router", "model.layers.{L}.block_sparse_moe.router.layer.weight", "blk.{L}.ffn_gate_inp.weight"},
        {"gate", "(none)", "blk.{L}.ffn_gate_exps.weight"},
        {"gate_up", "model.layers.{L}.block_sparse_moe.input_linear.weight", "blk.{L}.ffn_gate_up_exps.weight"},
        {"shared_gate_up", "model.layers.{L}.shared_mlp.input_linear.weight", "(none)"},
        {"shared_gate", "(none)", "blk.{L}.ffn_gate_shexp.weight"},
        {"shared_up", "(none)", "blk.{L}.ffn_up_shexp.weight"},
        {"shared_down", "model.layers.{L}.shared_mlp.output_linear.weight", "blk.{L}.ffn_down_shexp.weight"},
        {"down", "model.layers.{L}.block_sparse_moe.output_linear.weight", "blk.{L}.ffn_down_exps.weight"},
    }),
    {{"Granite-3.1-1B-A400M", 1.3, 0.4}, {"Granite-3.1-3B-A800M", 3.3, 0.8}},
    "safetensors, GGUF", "", true};

}  // namespace vkmoe
