// MiniMax-M2 (2025), after transformers' modeling_minimax_m2.py: sigmoid with a selection bias, renormalised; RMSNorm over the
// whole query and key projections; partial rotary embedding.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

Hyper read(const ModelFile& file) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Hyper h = read_common(file, "minimax-m2.");
  Keys keys(file, "minimax-m2.", h);
  h.n_experts = keys.u32({"num_local_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  bool own = !gguf || keys.has("expert_feed_forward_length");
  h.expert_ff = keys.u32({"intermediate_size", own ? "expert_feed_forward_length" : "feed_forward_length"}, 1, 1 << 24);
  h.qk_norm = QK_NORM_FULL;
  if (!gguf) keys.expect_text("scoring_func", "sigmoid");
  h.gate = sigmoid_bias_top_k(h.n_experts, h.top_k, true, 1);
  h.gate.denominator_add = 0;
  h.layer_has_experts.assign(h.n_layers, true);
  return h;
}

}  // namespace

const Architecture minimax_m2_architecture = {
    "minimax_m2", "minimax_m2", "minimax-m2", read,
    with_common({
        {"router", "model.layers.{L}.block_sparse_moe.gate.weight", "blk.{L}.ffn_gate_inp.weight"},
        {"router_bias", "model.layers.{L}.block_sparse_moe.e_score_correction_bias", "blk.{L}.exp_probs_b.bias"},
        {"gate", "model.layers.{L}.block_sparse_moe.experts.{E}.w1.weight", "blk.{L}.ffn_gate_exps.weight"},
        {"up", "model.layers.{L}.block_sparse_moe.experts.{E}.w3.weight", "blk.{L}.ffn_up_exps.weight"},
        {"down", "model.layers.{L}.block_sparse_moe.experts.{E}.w2.weight", "blk.{L}.ffn_down_exps.weight"},
    }),
    {{"MiniMax-M2", 230, 10}},
    "safetensors, GGUF"};

}  // namespace vkmoe
