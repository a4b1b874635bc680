// Hunyuan-A13B (Tencent 2025), after transformers' modeling_hunyuan_v1_moe.py: RMSNorm per head after the rotation; a shared
// expert without a gate.
#include <cmath>

#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

Hyper read(const ModelFile& file) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Hyper h = read_common(file, "hunyuan-moe.");
  Keys keys(file, "hunyuan-moe.", h);
  read_attention_bias(file, keys, h);
  auto number = [&](const KeyNames& key) {  // one for all layers, or the same in a list
    auto at = file.metadata.find(key.hugging_face);
    if (gguf || at == file.metadata.end() || !at->is_array()) return keys.u32(key, 1, 1 << 24);
    keys.has(key);  // it is asked for
    const nlohmann::json& list = *at;
    if (list.empty() || !list[0].is_number_unsigned()) keys.refuse(key, "expected numbers");
    for (const auto& value : list)
      if (value != list[0]) keys.refuse(key, "expected the same number for all layers");
    keys.note(key.gguf, list[0].get<uint32_t>());
    return list[0].get<uint32_t>();
  };
  h.n_experts = number({"num_experts", "expert_count"});
  h.top_k = number({"moe_topk", "expert_used_count"});
  h.expert_ff = number({gguf || keys.has("moe_intermediate_size") ? "moe_intermediate_size" : "intermediate_size",
                        "expert_feed_forward_length"});
  h.shared_ff = keys.u32({"intermediate_size", "expert_shared_feed_forward_length"}, 1, 1 << 24);
  if (h.n_experts > GATE_MAX_EXPERTS || h.top_k > GATE_MAX_TOP_K)
    fail(VKMOE_ERROR_UNSUPPORTED, file.path, ": ", h.n_experts, " experts with ", h.top_k, " a token: at most ",
         GATE_MAX_EXPERTS, " with ", GATE_MAX_TOP_K, " are supported");
  h.qk_norm = QK_NORM_AFTER_ROPE;
  if (h.rope_scaling.attention_factor != 1)  // the kernel's norm after the rotation takes it for a pure one
    fail(VKMOE_ERROR_UNSUPPORTED, file.path, ": a RoPE attention factor of ", h.rope_scaling.attention_factor,
         " is not supported with norms after the rotation: expected 1");
  for (const char* rope : {"rope_scaling.", "rope_parameters."}) {  // a fixed alpha stretches theta, whatever the context
    double alpha = gguf ? 0 : Keys(file, rope).number_or("alpha", 0);
    if (alpha <= 0 || h.rope_scaling.type != RopeScaling::Type::dynamic) continue;
    h.rope_theta *= std::pow(alpha, h.head_dim / (h.head_dim - 2.0));
    h.rope_scaling.type = RopeScaling::Type::none;
  }
  h.gate = softmax_top_k(h.n_experts, h.top_k, true);
  h.layer_has_experts.assign(h.n_layers, true);
  return h;
}

}  // namespace

const Architecture hunyuan_v1_moe_architecture = {
    "hunyuan_v1_moe", "hunyuan_v1_moe", "hunyuan-moe", read,
    with_common({
        {"q_norm", "model.layers.{L}.self_attn.query_layernorm.weight", "blk.{L}.attn_q_norm.weight"},
        {"k_norm", "model.layers.{L}.self_attn.key_layernorm.weight", "blk.{L}.attn_k_norm.weight"},
        {"router", "model.layers.{L}.mlp.gate.wg.weight", "blk.{L}.ffn_gate_inp.weight"},
        {"shared_gate", "model.layers.{L}.mlp.shared_mlp.gate_proj.weight", "blk.{L}.ffn_gate_shexp.weight"},
        {"shared_up", "model.layers.{L}.mlp.shared_mlp.up_proj.weight", "blk.{L}.ffn_up_shexp.weight"},
        {"shared_down", "model.layers.{L}.mlp.shared_mlp.down_proj.weight", "blk.{L}.ffn_down_shexp.weight"},
    }),
    {{"Hunyuan-A13B", 80, 13}},
    "safetensors, GGUF"};

}  // namespace vkmoe
