// DBRX (Databricks 2024), after transformers' modeling_dbrx.py: LayerNorm without biases, fused and bounded QKV, weights over
// their p-norm, experts fused by rows with the last matrix transposed. Its config.json nests, with names of its own.
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

Hyper read(const ModelFile& file) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Hyper h = read_common(file, "dbrx.", {.names = {{"num_hidden_layers", "n_layers"},
                                                  {"hidden_size", "d_model"},
                                                  {"num_attention_heads", "n_heads"},
                                                  {"num_key_value_heads", "attn_config.kv_n_heads"},
                                                  {"max_position_embeddings", "max_seq_len"},
                                                  {"rope_theta", "attn_config.rope_theta"},
                                                  {"hidden_act", "ffn_config.ffn_act_fn.name"}},
                                        .norm_epsilon = 1e-5});
  Keys keys(file, "dbrx.", h);
  h.n_experts = keys.u32({"ffn_config.moe_num_experts", "expert_count"}, 1, GATE_MAX_EXPERTS);
  h.top_k = keys.u32({"ffn_config.moe_top_k", "expert_used_count"}, 1, GATE_MAX_TOP_K);
  h.expert_ff = keys.u32({"ffn_config.ffn_hidden_size", "feed_forward_length"}, 1, 1 << 24);
  h.norm = NORM_LAYER;
  keys.note("attention.layer_norm_epsilon", h.rms_epsilon);
  const KeyNames clip("attn_config.clip_qkv", "attention.clamp_kqv");
  if (keys.has(clip)) h.qkv_clip = float(keys.number(clip));
  if (keys.has(clip) && !(h.qkv_clip > 0)) keys.refuse(clip, "expected a number above 0");
  const char* power = "ffn_config.moe_normalize_expert_weights";
  bool named = !gguf && file.metadata.contains("ffn_config") && file.metadata["ffn_config"].contains("moe_normalize_expert_weights");
  bool normalize = !named || keys.has(power);  // null: not at all; a GGUF says nothing, as all released models do
  h.gate = softmax_top_k(h.n_experts, h.top_k, normalize);
  h.gate.norm_power = float(gguf ? 1 : keys.number_or(power, 1));
  if (!(h.gate.norm_power > 0)) keys.refuse(power, "expected a number above 0");
  h.layer_has_experts.assign(h.n_layers, true);
  return h;
}

}  // namespace

const Architecture dbrx_architecture = {
    "dbrx", "dbrx", "dbrx", read,
    with_common({
        {"embedding", "transformer.wte.weight", "token_embd.weight"},
        {"final_norm", "transformer.norm_f.weight", "output_norm.weight"},
        {"attention_norm", "transformer.blocks.{L}.norm_attn_norm.norm_1.weight", "blk.{L}.attn_norm.weight"},
        {"ffn_norm", "transformer.blocks.{L}.norm_attn_norm.norm_2.weight", "blk.{L}.attn_output_norm.weight"},
        {"qkv", "transformer.blocks.{L}.norm_attn_norm.attn.Wqkv.weight", "blk.{L}.attn_qkv.weight"},
        {"q", "(none)", "(none)"},
        {"o", "transformer.blocks.{L}.norm_attn_norm.attn.out_proj.weight", "blk.{L}.attn_output.weight"},
        {"router", "transformer.blocks.{L}.ffn.router.layer.weight", "blk.{L}.ffn_gate_inp.weight"},
        {"gate", "transformer.blocks.{L}.ffn.experts.mlp.w1", "blk.{L}.ffn_gate_exps.weight"},
        {"up", "transformer.blocks.{L}.ffn.experts.mlp.v1", "blk.{L}.ffn_up_exps.weight"},
        {"down", "transformer.blocks.{L}.ffn.experts.mlp.w2^T", "blk.{L}.ffn_down_exps.weight"},
    }),
    {{"DBRX", 132, 36}},
    "safetensors, GGUF"};

}  // namespace vkmoe
