// Keys that change what a model computes, in some family. Who knows a key asks for it (Keys); where nobody did, a file may
// only say what changes nothing.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

using nlohmann::json;

struct Key {
  const char* name;
  json neutral;  // an array: one of these, and arrays of nothing else
};

const Key config_keys[] = {
    {"attention_bias", {false}},
    {"attention_chunk_size", json::array()},
    {"attn_logit_softcapping", json::array()},
    {"clip_qkv", json::array()},
    {"decoder_sparse_step", {1}},
    {"embedding_multiplier", {1}},
    {"final_logit_softcapping", json::array()},
    {"first_k_dense_replace", {0}},
    {"layer_types", {"full_attention"}},
    {"lm_head_bias", {false}},
    {"logits_scaling", {1}},
    {"mlp_bias", {false}},
    {"mlp_only_layers", json::array()},
    {"moe_layer_freq", {1}},
    {"n_group", {0, 1}},
    {"position_embedding_type", {"rope"}},
    {"qkv_bias", {false}},
    {"residual_multiplier", {1}},
    {"routed_scaling_factor", {1}},
    {"router_logit_softcapping", json::array()},
    {"use_bias", {false}},
    {"use_cla", {false}},
    {"use_sliding_window", {false}},
};

const Key gguf_keys[] = {
    {"attention.causal", {true}},
    {"attention.clamp_kqv", {0}},
    {"attention.max_alibi_bias", {0}},
    {"attention.scale", {0}},
    {"attention.sliding_window", {0}},
    {"attn_logit_softcapping", {0}},
    {"embedding_scale", {1}},
    {"expert_group_count", {0, 1}},
    {"expert_weights_scale", {0, 1}},
    {"final_logit_softcapping", {0}},
    {"interleave_moe_layer_step", {0, 1}},
    {"leading_dense_block_count", {0}},
    {"logit_scale", {0, 1}},
    {"moe_every_n_layers", {0, 1}},
    {"residual_scale", {1}},
    {"swiglu_clamp_exp", {0}},
    {"swiglu_clamp_shexp", {0}},
    {"use_parallel_residual", {false}},
};

bool is_neutral(const json& value, const json& neutral) {
  if (value.is_array()) {
    for (const json& item : value)
      if (!is_neutral(item, neutral)) return false;
    return true;
  }
  for (const json& item : neutral)
    if (value == item) return true;
  return false;
}

}  // namespace

void refuse_ignored(const ModelFile& file) {
  auto check = [&](const std::string& prefix, const Key& key) {
    auto at = file.metadata.find(prefix + key.name);
    if (at == file.metadata.end() || at->is_null() || file.asked.count(prefix + key.name) || is_neutral(*at, key.neutral)) return;
    std::string expected;
    for (const json& item : key.neutral) expected += (expected.empty() ? "" : " or ") + item.dump();
    Keys(file, prefix).refuse(key.name, "expected " + (expected.empty() ? "none" : expected));
  };
  if (file.kind == ModelFile::Kind::hugging_face) {
    for (const Key& key : config_keys) check("", key);
  } else {
    for (const Key& key : gguf_keys) check(file.metadata["general.architecture"].get<std::string>() + ".", key);
  }
}

}  // namespace vkmoe
