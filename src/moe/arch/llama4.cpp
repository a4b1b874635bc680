// Llama 4 Scout and Maverick (Meta 2025), the text model, after transformers' modeling_llama4.py: the sigmoid of the router
// scales an expert's input, one expert of top-1 and a shared one; chunked attention with rotary embedding and weightless
// norms of queries and keys, but on every fourth layer neither, and a temperature that grows with the position.
#include <algorithm>

#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

// A list of 0 and 1 by layer, or every interval-th 0.
std::vector<bool> rotary_layers(const Keys& keys, const ModelFile& file, uint32_t n_layers) {
  uint32_t interval = keys.u32_or("no_rope_layer_interval", 4, 1, 1 << 20);
  std::vector<bool> rotary;
  for (uint32_t layer = 0; layer < n_layers; ++layer) rotary.push_back((layer + 1) % interval != 0);
  if (!keys.has("no_rope_layers") || file.metadata["no_rope_layers"].empty()) return rotary;
  const nlohmann::json& list = file.metadata["no_rope_layers"];
  if (!list.is_array() || list.size() < n_layers) keys.refuse("no_rope_layers", cat("expected a list of ", n_layers));
  for (uint32_t layer = 0; layer < n_layers; ++layer) {
    if (list[layer] != 0 && list[layer] != 1) keys.refuse("no_rope_layers", "expected 0 and 1");
    rotary[layer] = list[layer] == 1;
  }
  return rotary;
}

std::vector<bool> expert_layers(const Keys& keys, const ModelFile& file, uint32_t n_layers) {
  uint32_t step = keys.u32_or("interleave_moe_layer_step", 1, 1, 1 << 20);
  keys.note("interleave_moe_layer_step", step);
  std::vector<bool> experts;
  for (uint32_t layer = 0; layer < n_layers; ++layer) experts.push_back((layer + 1) % step == 0);
  if (file.kind == ModelFile::Kind::gguf || !keys.has("moe_layers")) return experts;
  experts.assign(n_layers, false);
  const nlohmann::json& list = file.metadata["moe_layers"];
  if (!list.is_array()) keys.refuse("moe_layers", "expected a list of layers");
  for (const nlohmann::json& layer : list) {
    if (!layer.is_number_unsigned() || layer >= n_layers) keys.refuse("moe_layers", cat("expected layers below ", n_layers));
    experts[layer.get<uint32_t>()] = true;
  }
  return experts;
}

// What the published models have, as a GGUF keeps it: next to nothing (llama.cpp's src/models/llama4.cpp).
void read_gguf_attention(const Keys& keys, const ModelFile& file, Hyper& h) {
  h.attention.resize(h.n_layers);
  bool norms = h.n_experts != 128;
  if (keys.has("attention.sliding_window") && keys.u32("attention.sliding_window", 0, 1u << 30) == 0) {
    for (LayerAttention& layer : h.attention) layer.normed = norms;
    return;
  }
  std::vector<bool> local = local_layers(file, "llama4.", "chunked_attention", h.n_layers, 4);
  h.temperature_floor = 8192;
  h.temperature_scale = 0.1f;
  for (uint32_t i = 0; i < h.n_layers; ++i) {
    bool rotary = (i + 1) % 4 != 0;
    h.attention[i] = {{0, local[i] ? 8192u : 0u}, rotary, rotary && norms, !rotary};
  }
}

void read_attention(const Keys& keys, const ModelFile& file, Hyper& h) {
  bool norms = keys.flag_or("use_qk_norm", true), tempered = true;
  if (keys.has("attn_temperature_tuning"))  // the published files say true or 4
    tempered = file.metadata["attn_temperature_tuning"] != false && file.metadata["attn_temperature_tuning"] != 0;
  uint32_t chunk = keys.u32_or("attention_chunk_size", 0, 1, 1u << 30);
  h.temperature_floor = keys.u32_or("floor_scale", 8192, 1, 1u << 30);
  h.temperature_scale = float(keys.number_or("attn_scale", 0.1));
  std::vector<bool> rotary = rotary_layers(keys, file, h.n_layers), local = rotary;
  if (keys.has("layer_types")) local = local_layers(file, "", "chunked_attention", h.n_layers, 1);
  if (std::find(local.begin(), local.end(), true) == local.end()) keys.note("attention.sliding_window", 0u);
  for (uint32_t i = 0; i < h.n_layers; ++i)
    h.attention.push_back({{0, local[i] ? chunk : 0}, rotary[i], rotary[i] && norms, tempered && !rotary[i]});
  if (keys.flag_or("attention_bias", false)) h.biased = {"q", "k", "v", "o"};
}

Hyper read(const ModelFile& file) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Hyper h = read_common(file, "llama4.");
  Keys keys(file, "llama4.", h);
  h.n_experts = keys.u32({"num_local_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"intermediate_size", "expert_feed_forward_length"}, 1, 1 << 24);
  h.dense_ff = keys.u32({"intermediate_size_mlp", "feed_forward_length"}, 1, 1 << 24);
  h.shared_ff = h.expert_ff;
  h.rope_interleaved = true;
  h.qk_norm = QK_NORM_AFTER_ROPE;
  h.qk_norm_weights = false;
  if (gguf) read_gguf_attention(keys, file, h);
  else read_attention(keys, file, h);
  h.gate = softmax_top_k(h.n_experts, h.top_k, false);
  h.gate.score = SCORE_LOGIT;
  h.gate.weight = WEIGHT_SIGMOID;
  h.scaled_expert_input = true;
  h.layer_has_experts = expert_layers(keys, file, h.n_layers);
  return h;
}

}  // namespace

const Architecture llama4_architecture = {
    "llama4", "llama4_text", "llama4", read,
    with_common({
        {"rope_freqs", "(none)", "rope_freqs.weight"},
        {"router", "model.layers.{L}.feed_forward.router.weight", "blk.{L}.ffn_gate_inp.weight"},
        {"gate", "(none)", "blk.{L}.ffn_gate_exps.weight"},
        {"gate_up", "model.layers.{L}.feed_forward.experts.gate_up_proj^T", "(none)"},
        {"down", "model.layers.{L}.feed_forward.experts.down_proj^T", "blk.{L}.ffn_down_exps.weight"},
        {"shared_gate", "model.layers.{L}.feed_forward.shared_expert.gate_proj.weight", "blk.{L}.ffn_gate_shexp.weight"},
        {"shared_up", "model.layers.{L}.feed_forward.shared_expert.up_proj.weight", "blk.{L}.ffn_up_shexp.weight"},
        {"shared_down", "model.layers.{L}.feed_forward.shared_expert.down_proj.weight", "blk.{L}.ffn_down_shexp.weight"},
        {"dense_gate", "model.layers.{L}.feed_forward.gate_proj.weight", "blk.{L}.ffn_gate.weight"},
        {"dense_up", "model.layers.{L}.feed_forward.up_proj.weight", "blk.{L}.ffn_up.weight"},
        {"dense_down", "model.layers.{L}.feed_forward.down_proj.weight", "blk.{L}.ffn_down.weight"},
    }),
    {{"Llama-4-Scout", 109, 17}, {"Llama-4-Maverick", 400, 17}},
    "safetensors, GGUF",
    "A GGUF keeps neither chunks, layers without rotary embedding nor temperatures: llama.cpp and vkmoe take those of the released "
    "models (chunks of 8192, every fourth layer). Other models run from their Hugging Face folder."};

}  // namespace vkmoe
