// Qwen3-MoE (Yang et al. 2025), after transformers' modeling_qwen3_moe.py: RMSNorm per head on queries and keys, and
// optionally dense layers between those with experts.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

Hyper read(const ModelFile& file) {
  Hyper h = read_common(file, "qwen3moe.");
  h.qk_norm = QK_NORM_HEAD;
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Keys keys(file, "qwen3moe.", h);
  read_attention_bias(file, keys, h);
  bool local = !gguf && !keys.has("num_experts");
  h.n_experts = keys.u32({local ? "num_local_experts" : "num_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"moe_intermediate_size", "expert_feed_forward_length"}, 1, 1 << 24);
  // GGUFs mostly lack the key: all released models renormalise.
  bool renormalize = keys.flag_or({"norm_topk_prob", "expert_weights_norm"}, gguf);
  if (!gguf) {
    h.dense_ff = keys.u32({"intermediate_size", "feed_forward_length"}, 1, 1 << 24);
    if (keys.flag_or("use_sliding_window", false)) {
      LayerAttention windowed = {.span = {.window = keys.u32_or("sliding_window", 0, 0, 1u << 30)}};
      h.attention.assign(h.n_layers, windowed);
    }
    set_sparse_layers(file, keys, h);
  } else {
    h.layer_has_experts.assign(h.n_layers, true);
  }
  h.gate = softmax_top_k(h.n_experts, h.top_k, renormalize);
  return h;
}

}  // namespace

const Architecture qwen3_moe_architecture = {
    "qwen3_moe", "qwen3_moe", "qwen3moe", read, with_common({}),
    {{"Qwen3-30B-A3B", 30.5, 3.3}, {"Qwen3-235B-A22B", 235, 22}, {"Qwen3-Coder-480B-A35B", 480, 35}},
    "safetensors, GGUF"};

}  // namespace vkmoe
