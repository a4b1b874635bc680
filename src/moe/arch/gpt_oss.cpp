// gpt-oss 20B and 120B (OpenAI 2025), after transformers' modeling_gpt_oss.py: attention sinks, a sliding window on some layers,
// biases everywhere, top-k then softmax, clamped SwiGLU. The checkpoint's gate and up rows are interleaved; its experts are
// MXFP4 as published, or (experts, k, n) when they are not quantized.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

Hyper read(const ModelFile& file) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Hyper h = read_common(file, "gpt-oss.");
  Keys keys(file, "gpt-oss.", h);
  h.n_experts = keys.u32({"num_local_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"intermediate_size", "expert_feed_forward_length"}, 1, 1 << 24);
  keys.note("feed_forward_length", h.expert_ff);
  if (gguf) h.biased = {"q", "k", "v", "o", "router", "gate", "up", "down"};
  else h.biased = {"router", "gate_up_interleaved", "down"};
  if (!gguf && keys.flag_or("attention_bias", true)) h.biased.insert({"q", "k", "v", "o"});
  if (gguf) h.rope_scaling.truncate = false;  // the file has no key for it
  uint32_t window = keys.u32_or({"sliding_window", "attention.sliding_window"}, 0, 0, 1u << 30);
  h.attention.resize(h.n_layers);
  std::vector<bool> local = local_layers(file, "gpt-oss.", "sliding_attention", h.n_layers, 2);
  for (uint32_t layer = 0; layer < h.n_layers; ++layer)
    if (local[layer]) h.attention[layer].span.window = window;
  h.gate = softmax_top_k(h.n_experts, h.top_k, false);
  h.gate.score = SCORE_LOGIT;
  h.gate.weight = WEIGHT_SOFTMAX;
  h.activation = {ACTIVATION_CLAMPED_SILU, float(gguf ? 1.702 : keys.number_or("swiglu_alpha", 1.702)),
                  float(gguf ? 7 : keys.number_or("swiglu_limit", 7))};
  if (!(h.activation.limit > 0)) keys.refuse("swiglu_limit", "expected a number above 0");
  h.layer_has_experts.assign(h.n_layers, true);
  return h;
}

}  // namespace

const Architecture gpt_oss_architecture = {
    "gpt_oss", "gpt_oss", "gpt-oss", read,
    with_common({
        {"sinks", "model.layers.{L}.self_attn.sinks", "blk.{L}.attn_sinks.weight"},
        {"ffn_norm", "model.layers.{L}.post_attention_layernorm.weight", "blk.{L}.post_attention_norm.weight"},
        {"router", "model.layers.{L}.mlp.router.weight", "blk.{L}.ffn_gate_inp.weight"},
        {"router.bias", "model.layers.{L}.mlp.router.bias", "blk.{L}.ffn_gate_inp.bias"},
        {"gate_up_interleaved", "model.layers.{L}.mlp.experts.gate_up_proj^T|model.layers.{L}.mlp.experts.gate_up_proj_blocks",
         "(none)"},
        {"gate_up_interleaved.bias", "model.layers.{L}.mlp.experts.gate_up_proj_bias", "(none)"},
        {"gate.bias", "(none)", "blk.{L}.ffn_gate_exps.bias"},
        {"up.bias", "(none)", "blk.{L}.ffn_up_exps.bias"},
        {"down", "model.layers.{L}.mlp.experts.down_proj^T|model.layers.{L}.mlp.experts.down_proj_blocks",
         "blk.{L}.ffn_down_exps.weight"},
        {"down.bias", "model.layers.{L}.mlp.experts.down_proj_bias", "blk.{L}.ffn_down_exps.bias"},
    }),
    {{"gpt-oss-20b", 20.9, 3.6}, {"gpt-oss-120b", 116.8, 5.1}},
    "safetensors, GGUF",
    "With MXFP4 weights llama.cpp's CPU backend rounds what it multiplies them with to 8 bits; vkmoe does not."};

}  // namespace vkmoe
