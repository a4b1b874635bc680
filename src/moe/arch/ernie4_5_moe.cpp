// ERNIE-4.5 (Baidu 2025), after transformers' modeling_ernie4_5_moe.py: selection on softmax + bias, weights over their clamped
// sum, interleaved rotary pairs, shared experts, dense first layers.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

Hyper read(const ModelFile& file) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Hyper h = read_common(file, "ernie4_5-moe.");
  Keys keys(file, "ernie4_5-moe.", h);
  read_attention_bias(file, keys, h, "use_bias");
  if (!gguf && !h.biased.empty())
    h.biased.insert({"dense_gate", "dense_up", "dense_down", "shared_gate", "shared_up", "shared_down", "head"});
  h.n_experts = keys.u32({"moe_num_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"moe_k", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"moe_intermediate_size", "expert_feed_forward_length"}, 1, 1 << 24);
  h.dense_ff = keys.u32({"intermediate_size", "feed_forward_length"}, 1, 1 << 24);
  // Not expert_shared_feed_forward_length, which the converter guesses from other sizes.
  h.shared_ff = h.expert_ff * keys.u32_or({"moe_num_shared_experts", "expert_shared_count"}, 0, 0, 64);
  h.rope_interleaved = true;
  h.gate = softmax_top_k(h.n_experts, h.top_k, true);
  h.gate.has_bias = 1;
  h.gate.denominator_min = float(keys.number_or("moe_norm_min", 1e-12));
  if (gguf) {
    if (keys.u32_or("interleave_moe_layer_step", 1, 1, 1 << 20) != 1) keys.refuse("interleave_moe_layer_step", "expected 1");
    set_first_dense(h, keys.u32_or("leading_dense_block_count", 0, 0, h.n_layers));
  } else {
    uint32_t first = keys.u32_or({"moe_layer_start_index", "leading_dense_block_count"}, 0, 0, h.n_layers);
    uint32_t step = keys.u32_or({"moe_layer_interval", "interleave_moe_layer_step"}, 1, 1, 1 << 20);
    int64_t end = keys.has("moe_layer_end_index") ? int64_t(keys.number("moe_layer_end_index")) : -1;
    if (end < 0) end = int64_t(h.n_layers) - 1;
    for (uint32_t layer = 0; layer < h.n_layers; ++layer)
      h.layer_has_experts.push_back((layer + 1) % step == 0 && layer >= first && int64_t(layer) <= end);
  }
  return h;
}

}  // namespace

const Architecture ernie4_5_moe_architecture = {
    "ernie4_5_moe", "ernie4_5_moe", "ernie4_5-moe", read,
    with_common({
        {"shared_gate", "model.layers.{L}.mlp.shared_experts.gate_proj.weight", "blk.{L}.ffn_gate_shexp.weight"},
        {"shared_up", "model.layers.{L}.mlp.shared_experts.up_proj.weight", "blk.{L}.ffn_up_shexp.weight"},
        {"shared_down", "model.layers.{L}.mlp.shared_experts.down_proj.weight", "blk.{L}.ffn_down_shexp.weight"},
        {"shared_gate.bias", "model.layers.{L}.mlp.shared_experts.gate_proj.bias", "(none)"},
        {"shared_up.bias", "model.layers.{L}.mlp.shared_experts.up_proj.bias", "(none)"},
        {"shared_down.bias", "model.layers.{L}.mlp.shared_experts.down_proj.bias", "(none)"},
        {"router_bias", "model.layers.{L}.mlp.moe_statics.e_score_correction_bias", "blk.{L}.exp_probs_b.bias"},
    }),
    {{"ERNIE-4.5-21B-A3B", 21.8, 3}, {"ERNIE-4.5-300B-A47B", 300, 47}},
    "safetensors, GGUF",
    "llama.cpp takes the shared experts' width for `intermediate_size` over the number of key-value heads, as its converter writes "
    "it, which is right for the released models; vkmoe takes `moe_num_shared_experts` times the experts' width."};

}  // namespace vkmoe
