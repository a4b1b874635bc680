// NLLB-MoE (NLLB Team 2022), after transformers' modeling_nllb_moe.py: sinusoidal positions, LayerNorm, biases, ReLU, and
// GShard's two experts with a capacity. transformers 4 and fairseq send a token to the experts that it chose; transformers
// 5 (to 5.23 at least) indexes its experts by the mask of first choices, so first choices go to expert 1 and second ones
// to expert 0. A file that names the version which wrote it is run as that version runs it (GateRule::expert_of_rank).
#include <cfloat>
#include <cmath>

#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

bool written_by_transformers_5(const Keys& keys) {
  std::string version = keys.text_or("transformers_version", "");
  return std::atoi(version.c_str()) >= 5;
}

GateRule read_gate(const Keys& keys, uint32_t n_experts) {
  GateRule rule = softmax_top_k(n_experts, 2, false);
  rule.renormalize = keys.flag_or("normalize_router_prob_before_dropping", false) ? RENORMALIZE_ALL : RENORMALIZE_KEPT;
  rule.denominator_min = FLT_EPSILON;
  double dropout = keys.number_or("moe_token_dropout", 0.2);  // at inference its expectation: a factor
  if (!(dropout >= 0 && dropout <= 1)) keys.refuse("moe_token_dropout", "expected 0 to 1");
  rule.scale = float(1 - dropout);
  rule.drop = keys.flag_or("batch_prioritized_routing", false) ? DROP_UNLIKELY : DROP_LATER;
  rule.capacity = keys.u32_or("expert_capacity", 64, 1, 1u << 30);
  rule.expert_of_rank = written_by_transformers_5(keys);
  return rule;
}

Hyper read_stack(const ModelFile& file, bool encoder) {
  Keys keys(file);
  Hyper h;
  h.n_layers = keys.u32(encoder ? "encoder_layers" : "decoder_layers", 1, 4096);
  h.hidden = keys.u32("d_model", 1, 1 << 20);
  const char* heads = encoder ? "encoder_attention_heads" : "decoder_attention_heads";
  h.n_heads = h.n_kv_heads = keys.u32(heads, 1, 4096);
  if (h.hidden % h.n_heads != 0) keys.refuse(heads, cat("expected a divisor of d_model = ", h.hidden));
  h.head_dim = h.hidden / h.n_heads;
  h.expert_ff = h.dense_ff = keys.u32(encoder ? "encoder_ffn_dim" : "decoder_ffn_dim", 1, 1 << 24);
  h.context_tokens = keys.u32_or("max_position_embeddings", 1024, 1, 1u << 30);
  h.norm = NORM_LAYER;
  h.norm_bias = true;
  h.rms_epsilon = 1e-5f;
  h.tied_by_default = true;
  h.sinusoidal = true;
  h.padding_id = keys.u32_or("pad_token_id", 1, 0, 1 << 24);
  if (keys.flag_or("scale_embedding", true)) h.embedding_scale = std::sqrt(float(h.hidden));
  h.bidirectional = encoder;
  h.cross_attention = !encoder;
  keys.expect_text("activation_function", "relu");
  keys.expect_text("router_dtype", "float32");
  keys.expect_text("second_expert_policy", "all");  // the others draw random numbers at inference, too
  h.gated = false;
  h.activation.kind = ACTIVATION_RELU;
  h.biased = {"q", "k", "v", "o", "cross_q", "cross_k", "cross_v", "cross_o", "gate", "down", "dense_gate", "dense_down"};
  if (keys.flag_or("router_bias", false)) h.biased.insert("router");
  h.n_experts = keys.u32("num_experts", 2, GATE_MAX_EXPERTS);
  h.top_k = 2;
  h.gate = read_gate(keys, h.n_experts);
  h.capacity_fraction = keys.number_or("moe_eval_capacity_token_fraction", 1);
  if (h.capacity_fraction > 1) keys.refuse("moe_eval_capacity_token_fraction", "expected at most 1");
  uint32_t step = keys.u32_or(encoder ? "encoder_sparse_step" : "decoder_sparse_step", 4, 0, 4096);
  for (uint32_t i = 0; i < h.n_layers; ++i) h.layer_has_experts.push_back(step > 0 && (i + 1) % step == 0);
  set_decoder_prompt(file, h, 2);
  check_attention_sizes(file, h);
  return h;
}

#define BIASED(ROLE, NAME) {ROLE, NAME ".weight", ""}, {ROLE ".bias", NAME ".bias", ""}
#define STACK(NAME) \
  {"embedding", "model.shared.weight", ""}, {"own_embedding", NAME ".embed_tokens.weight", ""}, {"head", "lm_head.weight", ""}, \
  BIASED("final_norm", NAME ".layer_norm"), \
  BIASED("attention_norm", NAME ".layers.{L}.self_attn_layer_norm"), \
  BIASED("q", NAME ".layers.{L}.self_attn.q_proj"), BIASED("k", NAME ".layers.{L}.self_attn.k_proj"), \
  BIASED("v", NAME ".layers.{L}.self_attn.v_proj"), BIASED("o", NAME ".layers.{L}.self_attn.out_proj"), \
  BIASED("ffn_norm", NAME ".layers.{L}.ff_layer_norm"), \
  BIASED("router", NAME ".layers.{L}.ffn.router.classifier"), \
  BIASED("gate", NAME ".layers.{L}.ffn.experts.expert_{E}.fc1"), \
  BIASED("down", NAME ".layers.{L}.ffn.experts.expert_{E}.fc2"), \
  BIASED("dense_gate", NAME ".layers.{L}.ffn.fc1"), BIASED("dense_down", NAME ".layers.{L}.ffn.fc2")

const Architecture encoder = {"nllb_moe encoder", "", "", [](const ModelFile& file) { return read_stack(file, true); },
                              {STACK("model.encoder")}};

}  // namespace

const Architecture nllb_moe_architecture = {
    "nllb_moe", "nllb-moe", "", [](const ModelFile& file) { return read_stack(file, false); },
    {STACK("model.decoder"),
     BIASED("cross_norm", "model.decoder.layers.{L}.cross_attention_layer_norm"),
     BIASED("cross_q", "model.decoder.layers.{L}.cross_attention.q_proj"),
     BIASED("cross_k", "model.decoder.layers.{L}.cross_attention.k_proj"),
     BIASED("cross_v", "model.decoder.layers.{L}.cross_attention.v_proj"),
     BIASED("cross_o", "model.decoder.layers.{L}.cross_attention.out_proj")},
    {{"NLLB-MoE-54B", 54.5, 3.8}},
    "safetensors",
    "transformers 5 (to 5.23 at least) sends first choices to expert 1 and second choices to expert 0; transformers 4 and "
    "fairseq send them to the experts that the router chose. vkmoe does as the version that wrote the file "
    "(`transformers_version`), so the released model runs as it was trained. llama.cpp has no such architecture.",
    false, &encoder};

}  // namespace vkmoe
