// dots.llm1 (rednote 2025), after transformers' modeling_dots1.py: DeepSeek-V3's routing, RMSNorm per head on
// queries and keys, shared experts, dense first layers.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

// The layers that layer_types names, or those from max_window_layers on.
void read_window(const ModelFile& file, const Keys& keys, Hyper& h) {
  uint32_t window = keys.u32_or("sliding_window", 0, 0, 1u << 30), begin = keys.u32_or("max_window_layers", 62, 0, 1u << 30);
  std::vector<bool> local;
  if (keys.has("layer_types")) local = local_layers(file, "", "sliding_attention", h.n_layers, 1);
  for (uint32_t layer = 0; layer < h.n_layers; ++layer)
    h.attention.push_back({.span = {.window = (local.empty() ? layer >= begin : local[layer]) ? window : 0}});
}

Hyper read(const ModelFile& file) {
  Hyper h = read_common(file, "dots1.");
  Keys keys(file, "dots1.", h);
  read_attention_bias(file, keys, h);
  h.n_experts = keys.u32({"n_routed_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"moe_intermediate_size", "expert_feed_forward_length"}, 1, 1 << 24);
  h.dense_ff = keys.u32({"intermediate_size", "feed_forward_length"}, 1, 1 << 24);
  h.shared_ff = h.expert_ff * keys.u32_or({"n_shared_experts", "expert_shared_count"}, 0, 0, 64);
  h.qk_norm = QK_NORM_HEAD;
  h.gate = sigmoid_bias_top_k(h.n_experts, h.top_k, keys.flag_or({"norm_topk_prob", "expert_weights_norm"}, false),
                              float(keys.number_or({"routed_scaling_factor", "expert_weights_scale"}, 1)));
  read_groups(keys, h.gate);
  if (file.kind == ModelFile::Kind::hugging_face) read_window(file, keys, h);
  set_first_dense(h, keys.u32_or({"first_k_dense_replace", "leading_dense_block_count"}, 0, 0, h.n_layers));
  return h;
}

}  // namespace

const Architecture dots1_architecture = {
    "dots1", "dots1", "dots1", read,
    with_common({
        {"shared_gate", "model.layers.{L}.mlp.shared_experts.gate_proj.weight", "blk.{L}.ffn_gate_shexp.weight"},
        {"shared_up", "model.layers.{L}.mlp.shared_experts.up_proj.weight", "blk.{L}.ffn_up_shexp.weight"},
        {"shared_down", "model.layers.{L}.mlp.shared_experts.down_proj.weight", "blk.{L}.ffn_down_shexp.weight"},
        {"router_bias", "model.layers.{L}.mlp.gate.e_score_correction_bias", "blk.{L}.exp_probs_b.bias"},
    }),
    {{"dots.llm1", 142, 14}},
    "safetensors, GGUF",
    "llama.cpp loads only models with as many key-value heads as heads, as the released one; a GGUF keeps no windows."};

}  // namespace vkmoe
