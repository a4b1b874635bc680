// OLMoE (Muennighoff et al. 2024), after transformers' modeling_olmoe.py: RMSNorm over the whole query and key projections,
// which may be bounded then.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

Hyper read(const ModelFile& file) {
  Hyper h = read_common(file, "olmoe.");
  Keys keys(file, "olmoe.", h);
  read_attention_bias(file, keys, h);
  h.n_experts = keys.u32({"num_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"intermediate_size", "feed_forward_length"}, 1, 1 << 24);
  h.qk_norm = QK_NORM_FULL;
  h.gate = softmax_top_k(h.n_experts, h.top_k, keys.flag_or({"norm_topk_prob", "expert_weights_norm"}, false));
  const KeyNames clip("clip_qkv", "attention.clamp_kqv");
  if (keys.has(clip)) h.qkv_clip = float(keys.number(clip));
  if (keys.has(clip) && !(h.qkv_clip > 0)) keys.refuse(clip, "expected a number above 0");
  h.layer_has_experts.assign(h.n_layers, true);
  return h;
}

}  // namespace

const Architecture olmoe_architecture = {
    "olmoe", "olmoe", "olmoe", read,
    with_common({
    }),
    {{"OLMoE-1B-7B", 6.9, 1.3}},
    "safetensors, GGUF",
    "llama.cpp bounds queries and keys (`clip_qkv`) before their norms, transformers after them; released models "
    "do not bound them. llama.cpp loads only models with as many key-value heads as heads, as the released one."};

}  // namespace vkmoe
