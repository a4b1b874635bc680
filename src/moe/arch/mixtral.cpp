// Mixtral 8x7B, 8x22B (Jiang et al. 2024), after transformers' modeling_mixtral.py. In a GGUF it is "llama" with experts,
// whose query and key rows are permuted for interleaved rotary pairs.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

Hyper read(const ModelFile& file) {
  Hyper h = read_common(file, "llama.");
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Keys keys(file, "llama.", h);
  if (gguf && (!keys.has("expert_count") || keys.u32("expert_count", 0, GATE_MAX_EXPERTS) == 0))
    keys.refuse("expert_count", "vkmoe runs models with experts only");
  h.n_experts = keys.u32({"num_local_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"intermediate_size", "feed_forward_length"}, 1, 1 << 24);
  if (!gguf) h.attention.assign(h.n_layers, {.span = {.window = keys.u32_or("sliding_window", 0, 0, 1u << 30)}});
  h.gate = softmax_top_k(h.n_experts, h.top_k, true);
  h.layer_has_experts.assign(h.n_layers, true);
  return h;
}

}  // namespace

const Architecture mixtral_architecture = {
    "mixtral", "mixtral", "llama", read,
    with_common({
        {"rope_freqs", "(none)", "rope_freqs.weight"},
        {"router", "model.layers.{L}.block_sparse_moe.gate.weight", "blk.{L}.ffn_gate_inp.weight"},
        {"gate", "model.layers.{L}.block_sparse_moe.experts.{E}.w1.weight",
         "blk.{L}.ffn_gate_exps.weight|blk.{L}.ffn_gate.{E}.weight"},
        {"up", "model.layers.{L}.block_sparse_moe.experts.{E}.w3.weight",
         "blk.{L}.ffn_up_exps.weight|blk.{L}.ffn_up.{E}.weight"},
        {"down", "model.layers.{L}.block_sparse_moe.experts.{E}.w2.weight",
         "blk.{L}.ffn_down_exps.weight|blk.{L}.ffn_down.{E}.weight"},
    }),
    {{"Mixtral-8x7B", 46.7, 12.9}, {"Mixtral-8x22B", 141, 39}},
    "safetensors, GGUF", "", true};

}  // namespace vkmoe
