// Grok-1 (xAI 2024), after the released model.py: norms before and after attention and experts, scores within +-30, GELU,
// weights of the two experts not renormalised and router logits not capped (other engines do either). The folders that
// people have are those of hpcai-tech and keyfan.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

Hyper read(const ModelFile& file) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Hyper h = read_common(file, "grok.", {.activation = "gelu|gelu_new|gelu_pytorch_tanh", .norm_epsilon = 1e-5});
  Keys keys(file, "grok.", h);
  const char* experts = gguf ? "expert_count" : keys.has("num_experts") ? "num_experts" : "num_local_experts";
  h.n_experts = keys.u32({experts, "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"num_experts_per_tok", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"intermediate_size", "feed_forward_length"}, 1, 1 << 24);
  // Files that lack these were made from the one released model.
  h.embedding_scale = float(keys.number_or({"embedding_multiplier_scale", "embedding_scale"}, 78.38367176906169));
  h.logit_scale = float(keys.number_or({"output_multiplier_scale", "logit_scale"}, 0.5773502691896257));
  h.attention_scale = float(keys.number_or({"attn_output_multiplier", "attention.output_scale"}, 0.08838834764831845));
  const char* cap = gguf ? "attn_logit_softcapping" : keys.has("max_attn_value") ? "max_attn_value" : "attn_logit_softcapping";
  h.attention_softcap = float(keys.number_or(cap, 30));
  keys.note("attn_logit_softcapping", h.attention_softcap);
  if (!(h.attention_softcap > 0)) keys.refuse(cap, "expected a number above 0");
  if (file.find("blk.0.ffn_up.weight"))
    fail(VKMOE_ERROR_UNSUPPORTED, file.path, ": tensor blk.0.ffn_up.weight: a dense layer beside the experts is Grok-2's, only ",
         "Grok-1 is supported");
  h.tied_by_default = true;
  h.post_norms = true;
  h.activation.kind = ACTIVATION_GELU;
  h.gate = softmax_top_k(h.n_experts, h.top_k, false);
  h.layer_has_experts.assign(h.n_layers, true);
  return h;
}

}  // namespace

const Architecture grok_architecture = {
    "grok", "grok-1|grok", "grok", read,
    with_common({
        {"embedding", "model.embed_tokens.weight|transformer.in_out_embed.weight", "token_embd.weight"},
        {"final_norm", "model.norm.scale|transformer.rms_norm.weight", "output_norm.weight"},
        {"attention_norm", "model.layers.{L}.pre_attn_norm.scale|transformer.decoder_layer.{L}.rms_norm.weight",
         "blk.{L}.attn_norm.weight"},
        {"attention_post_norm", "model.layers.{L}.post_attn_norm.scale|transformer.decoder_layer.{L}.rms_norm_1.weight",
         "blk.{L}.attn_output_norm.weight"},
        {"ffn_norm", "model.layers.{L}.pre_moe_norm.scale|transformer.decoder_layer.{L}.rms_norm_2.weight",
         "blk.{L}.ffn_norm.weight"},
        {"ffn_post_norm", "model.layers.{L}.post_moe_norm.scale|transformer.decoder_layer.{L}.rms_norm_3.weight",
         "blk.{L}.layer_output_norm.weight|blk.{L}.post_ffw_norm.weight"},
        {"q", "model.layers.{L}.attn.q_proj.weight|transformer.decoder_layer.{L}.multi_head_attention.query.weight",
         "blk.{L}.attn_q.weight"},
        {"k", "model.layers.{L}.attn.k_proj.weight|transformer.decoder_layer.{L}.multi_head_attention.key.weight",
         "blk.{L}.attn_k.weight"},
        {"v", "model.layers.{L}.attn.v_proj.weight|transformer.decoder_layer.{L}.multi_head_attention.value.weight",
         "blk.{L}.attn_v.weight"},
        {"o", "model.layers.{L}.attn.o_proj.weight|transformer.decoder_layer.{L}.multi_head_attention.linear.weight",
         "blk.{L}.attn_output.weight"},
        {"router", "model.layers.{L}.moe_block.gate.weight|transformer.decoder_layer.{L}.router.weight",
         "blk.{L}.ffn_gate_inp.weight"},
        {"gate", "model.layers.{L}.moe_block.experts.{E}.linear.weight|transformer.decoder_layer.{L}.moe.{E}.linear.weight",
         "blk.{L}.ffn_gate_exps.weight|blk.{L}.ffn_gate.{E}.weight"},
        {"up", "model.layers.{L}.moe_block.experts.{E}.linear_v.weight|transformer.decoder_layer.{L}.moe.{E}.linear_v.weight",
         "blk.{L}.ffn_up_exps.weight|blk.{L}.ffn_up.{E}.weight"},
        {"down", "model.layers.{L}.moe_block.experts.{E}.linear_1.weight|transformer.decoder_layer.{L}.moe.{E}.linear_1.weight",
         "blk.{L}.ffn_down_exps.weight|blk.{L}.ffn_down.{E}.weight"},
    }),
    {{"Grok-1", 314, 84}},
    "safetensors, GGUF",
    "The release neither caps the router's logits nor renormalises the weights of the two experts; llama.cpp renormalises, "
    "vLLM does both, SGLang caps."};

}  // namespace vkmoe
