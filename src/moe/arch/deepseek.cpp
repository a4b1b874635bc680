// DeepSeek-V2 (2024) and V3 (2024), after transformers' modeling_deepseek_v2.py and modeling_deepseek_v3.py: multi-head latent
// attention, shared experts, dense first layers; V2 chooses by softmax inside the best groups, V3 by sigmoid and bias.
// Kimi-K2, Moonlight and GLM-4.7-Flash (modeling_glm4_moe_lite.py) are of V3's kind.
#include <algorithm>

#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

void read_sizes(Hyper& h, const Keys& keys) {
  h.n_experts = keys.u32({"n_routed_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"moe_intermediate_size", "expert_feed_forward_length"}, 1, 1 << 24);
  h.dense_ff = keys.u32({"intermediate_size", "feed_forward_length"}, 1, 1 << 24);
  h.shared_ff = h.expert_ff * keys.u32_or({"n_shared_experts", "expert_shared_count"}, 0, 0, 64);
  if (!h.latent.kv_rank) keys.refuse({"kv_lora_rank", "attention.kv_lora_rank"}, "expected a number above 0");
}

// Sigmoid scores, selection bias, groups by their two best.
GateRule v3_gate(const Hyper& h, const Keys& keys, bool gguf) {
  for (const char* key : {"n_group", "topk_group"})
    if (!gguf) keys.u32(key, 1, GATE_MAX_GROUPS);  // transformers' defaults fit no other model than V3
  GateRule rule = sigmoid_bias_top_k(h.n_experts, h.top_k, keys.flag_or({"norm_topk_prob", "expert_weights_norm"}, !gguf),
                                     float(keys.number_or({"routed_scaling_factor", "expert_weights_scale"}, 1)));
  read_groups(keys, rule);
  return rule;
}

// Softmax scores, groups by their best. transformers looks at no norm_topk_prob here.
GateRule v2_gate(const Hyper& h, const Keys& keys, bool gguf) {
  GateRule rule = softmax_top_k(h.n_experts, h.top_k, gguf && keys.flag_or("expert_weights_norm", false));
  rule.scale = float(keys.number_or({"routed_scaling_factor", "expert_weights_scale"}, 1));
  std::string method = gguf ? "group_limited_greedy" : keys.text_or("topk_method", "greedy");
  if (method == "group_limited_greedy") {
    read_groups(keys, rule);
  } else {
    if (method != "greedy") keys.refuse("topk_method", "expected greedy or group_limited_greedy");
    rule.n_groups = 1;
    keys.note("expert_group_count", 1u);
    keys.note("expert_group_used_count", 1u);
  }
  rule.group_score = GROUP_MAX;
  return rule;
}

Hyper read_hugging_face(const ModelFile& file) {
  Hyper h = read_common(file, "deepseek2.");
  Keys keys(file, "deepseek2.", h);
  bool v2 = keys.text_or("model_type", "") == "deepseek_v2";
  read_sizes(h, keys);
  if (keys.flag_or("attention_bias", false)) h.biased = {"q_a", "kv_a", "o"};
  if (v2 && keys.flag_or("mlp_bias", false))
    h.biased.insert({"dense_gate", "dense_up", "dense_down", "shared_gate", "shared_up", "shared_down"});
  if (keys.u32_or("moe_layer_freq", 1, 1, 1 << 20) != 1) keys.refuse("moe_layer_freq", "expected 1");
  keys.expect_text("scoring_func", v2 ? "softmax" : "sigmoid");
  if (!v2) keys.expect_text("topk_method", "noaux_tc");
  h.rope_interleaved = v2 || keys.flag_or("rope_interleave", true);
  h.gate = v2 ? v2_gate(h, keys, false) : v3_gate(h, keys, false);
  if (keys.text_or("model_type", "") == "glm4_moe_lite") {
    auto types = file.metadata.find("mlp_layer_types");
    if (types != file.metadata.end() && types->is_array()) {
      for (const auto& type : *types) {
        if (type != "dense" && type != "sparse") keys.refuse("mlp_layer_types", "expected \"dense\" and \"sparse\" alone");
        h.layer_has_experts.push_back(type == "sparse");
      }
      if (h.layer_has_experts.size() != h.n_layers) keys.refuse("mlp_layer_types", cat("expected ", h.n_layers, " entries"));
    }
  }
  if (h.layer_has_experts.empty())
    set_first_dense(h, keys.u32_or("first_k_dense_replace", v2 ? 0 : keys.has("mlp_layer_types") ? 1 : 3, 0, h.n_layers));
  auto first = std::find(h.layer_has_experts.begin(), h.layer_has_experts.end(), true);
  keys.note("leading_dense_block_count", uint32_t(first - h.layer_has_experts.begin()));
  keys.note("expert_gating_func", v2 ? 1u : 2u);
  return h;
}

Hyper read_gguf(const ModelFile& file) {
  Hyper h = read_common(file, "deepseek2.");
  Keys keys(file, "deepseek2.");
  read_sizes(h, keys);
  h.n_layers -= std::min(h.n_layers - 1, keys.u32_or("nextn_predict_layers", 0, 0, h.n_layers));
  h.rope_interleaved = true;
  uint32_t n_dense = keys.u32_or("leading_dense_block_count", 0, 0, h.n_layers);
  // 1: softmax, 2: sigmoid; older files say nothing, and only V3 has a selection bias.
  bool bias = file.find(cat("blk.", n_dense, ".exp_probs_b.bias"));
  bool v3 = keys.u32_or("expert_gating_func", bias ? 2 : 1, 1, 2) == 2;
  h.gate = v3 ? v3_gate(h, keys, true) : v2_gate(h, keys, true);
  set_first_dense(h, n_dense);
  return h;
}

Hyper read(const ModelFile& file) {
  return file.kind == ModelFile::Kind::gguf ? read_gguf(file) : read_hugging_face(file);
}

}  // namespace

const Architecture deepseek_architecture = {
    "deepseek2", "deepseek_v2|deepseek_v3|kimi_k2|glm4_moe_lite", "deepseek2", read,
    with_common({
        {"q_a", "model.layers.{L}.self_attn.q_a_proj.weight", "blk.{L}.attn_q_a.weight"},
        {"q_a_norm", "model.layers.{L}.self_attn.q_a_layernorm.weight", "blk.{L}.attn_q_a_norm.weight"},
        {"q_b", "model.layers.{L}.self_attn.q_b_proj.weight", "blk.{L}.attn_q_b.weight"},
        {"q_a.bias", "model.layers.{L}.self_attn.q_a_proj.bias", "(none)"},
        {"kv_a.bias", "model.layers.{L}.self_attn.kv_a_proj_with_mqa.bias", "(none)"},
        {"kv_a", "model.layers.{L}.self_attn.kv_a_proj_with_mqa.weight", "blk.{L}.attn_kv_a_mqa.weight"},
        {"kv_a_norm", "model.layers.{L}.self_attn.kv_a_layernorm.weight", "blk.{L}.attn_kv_a_norm.weight"},
        {"kv_b", "model.layers.{L}.self_attn.kv_b_proj.weight", "blk.{L}.attn_kv_b.weight"},
        {"k_b", "", "blk.{L}.attn_k_b.weight"},
        {"v_b", "", "blk.{L}.attn_v_b.weight"},
        {"shared_gate", "model.layers.{L}.mlp.shared_experts.gate_proj.weight", "blk.{L}.ffn_gate_shexp.weight"},
        {"shared_up", "model.layers.{L}.mlp.shared_experts.up_proj.weight", "blk.{L}.ffn_up_shexp.weight"},
        {"shared_down", "model.layers.{L}.mlp.shared_experts.down_proj.weight", "blk.{L}.ffn_down_shexp.weight"},
        {"shared_gate.bias", "model.layers.{L}.mlp.shared_experts.gate_proj.bias", "(none)"},
        {"shared_up.bias", "model.layers.{L}.mlp.shared_experts.up_proj.bias", "(none)"},
        {"shared_down.bias", "model.layers.{L}.mlp.shared_experts.down_proj.bias", "(none)"},
        {"router_bias", "model.layers.{L}.mlp.gate.e_score_correction_bias", "blk.{L}.exp_probs_b.bias"},
    }),
    {{"Moonlight-16B-A3B", 16, 2.9}, {"DeepSeek-V2-Lite", 15.7, 2.4}, {"DeepSeek-V2", 236, 21}, {"DeepSeek-V3", 671, 37},
     {"Kimi-K2", 1040, 32}},
    "safetensors, GGUF",
    "llama.cpp scores V2's groups by their two best experts, transformers by the best; llama.cpp norms the latents with the "
    "config's epsilon, transformers with 1e-6. A GGUF made from a config.json without `scoring_func`, as transformers 5 writes "
    "it, has no gating function: llama.cpp takes softmax, vkmoe sigmoid where there is a selection bias. Models without "
    "`q_lora_rank` are known to llama.cpp by their number of layers alone (26, 27 or 48)."};

}  // namespace vkmoe
