// Qwen1.5-MoE and Qwen2-MoE, after transformers' modeling_qwen2_moe.py: QKV biases, a shared expert with a sigmoid gate, and
// optionally dense layers and layers with a window.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

void read_window(const ModelFile& file, const Keys& keys, Hyper& h) {
  if (!keys.flag_or("use_sliding_window", false)) return;
  uint32_t window = keys.u32_or("sliding_window", 4096, 0, 1u << 30), end = h.n_layers;
  if (!keys.has("layer_types")) end = keys.u32_or("max_window_layers", 28, 0, 1u << 30);
  std::vector<bool> local = local_layers(file, "", "sliding_attention", h.n_layers, 2);
  for (uint32_t layer = 0; layer < h.n_layers; ++layer)
    h.attention.push_back({.span = {.window = local[layer] && layer < end ? window : 0}});
}

Hyper read(const ModelFile& file) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Hyper h = read_common(file, "qwen2moe.");
  Keys keys(file, "qwen2moe.", h);
  h.n_experts = keys.u32({"num_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"moe_intermediate_size", "expert_feed_forward_length"}, 1, 1 << 24);
  h.shared_ff = keys.u32({"shared_expert_intermediate_size", "expert_shared_feed_forward_length"}, 1, 1 << 24);
  if (gguf || keys.flag_or("qkv_bias", true)) h.biased = {"q", "k", "v"};
  h.gate = softmax_top_k(h.n_experts, h.top_k, keys.flag_or({"norm_topk_prob", "expert_weights_norm"}, false));
  if (gguf) {
    h.layer_has_experts.assign(h.n_layers, true);
  } else {
    h.dense_ff = keys.u32_or({"intermediate_size", "feed_forward_length"}, 0, 1, 1 << 24);
    set_sparse_layers(file, keys, h);
    read_window(file, keys, h);
  }
  return h;
}

}  // namespace

const Architecture qwen2_moe_architecture = {
    "qwen2_moe", "qwen2_moe", "qwen2moe", read,
    with_common({
        {"shared_gate", "model.layers.{L}.mlp.shared_expert.gate_proj.weight", "blk.{L}.ffn_gate_shexp.weight"},
        {"shared_up", "model.layers.{L}.mlp.shared_expert.up_proj.weight", "blk.{L}.ffn_up_shexp.weight"},
        {"shared_down", "model.layers.{L}.mlp.shared_expert.down_proj.weight", "blk.{L}.ffn_down_shexp.weight"},
        {"shared_router", "model.layers.{L}.mlp.shared_expert_gate.weight", "blk.{L}.ffn_gate_inp_shexp.weight"},
    }),
    {{"Qwen1.5-MoE-A2.7B", 14.3, 2.7}, {"Qwen2-57B-A14B", 57.4, 14.2}},
    "safetensors, GGUF"};

}  // namespace vkmoe
