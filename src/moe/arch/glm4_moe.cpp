// GLM-4.5 (Zhipu 2025), after transformers' modeling_glm4_moe.py: DeepSeek-V3's routing, partial rotary embedding, optional
// QKV biases and RMSNorm per head on queries and keys, dense first layers.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

Hyper read(const ModelFile& file) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Hyper h = read_common(file, "glm4moe.");
  Keys keys(file, "glm4moe.", h);
  h.n_experts = keys.u32({"n_routed_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"moe_intermediate_size", "expert_feed_forward_length"}, 1, 1 << 24);
  h.dense_ff = keys.u32({"intermediate_size", "feed_forward_length"}, 1, 1 << 24);
  h.shared_ff = h.expert_ff * keys.u32_or({"n_shared_experts", "expert_shared_count"}, 0, 0, 64);
  if (gguf) h.n_layers -= std::min(h.n_layers - 1, keys.u32_or("nextn_predict_layers", 0, 0, h.n_layers));
  bool norm = gguf ? file.find("blk.0.attn_q_norm.weight") != nullptr : keys.flag_or("use_qk_norm", false);
  h.qk_norm = norm ? QK_NORM_HEAD : QK_NORM_NONE;
  read_attention_bias(file, keys, h);
  h.biased.erase("o");
  h.gate = sigmoid_bias_top_k(h.n_experts, h.top_k, keys.flag_or({"norm_topk_prob", "expert_weights_norm"}, true),
                              float(keys.number_or({"routed_scaling_factor", "expert_weights_scale"}, 1)));
  read_groups(keys, h.gate);
  set_first_dense(h, keys.u32_or({"first_k_dense_replace", "leading_dense_block_count"}, 0, 0, h.n_layers));
  return h;
}

}  // namespace

const Architecture glm4_moe_architecture = {
    "glm4_moe", "glm4_moe", "glm4moe", read,
    with_common({
        {"shared_gate", "model.layers.{L}.mlp.shared_experts.gate_proj.weight", "blk.{L}.ffn_gate_shexp.weight"},
        {"shared_up", "model.layers.{L}.mlp.shared_experts.up_proj.weight", "blk.{L}.ffn_up_shexp.weight"},
        {"shared_down", "model.layers.{L}.mlp.shared_experts.down_proj.weight", "blk.{L}.ffn_down_shexp.weight"},
        {"ffn_norm", "model.layers.{L}.post_attention_layernorm.weight", "blk.{L}.post_attention_norm.weight"},
        {"router_bias", "model.layers.{L}.mlp.gate.e_score_correction_bias", "blk.{L}.exp_probs_b.bias"},
    }),
    {{"GLM-4.5-Air", 106, 12}, {"GLM-4.5", 355, 32}, {"GLM-4.6", 357, 32}},
    "safetensors, GGUF"};

}  // namespace vkmoe
