#include "moe/arch/arch.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace vkmoe {

std::string Keys::full(const KeyNames& key) const {
  const std::string& name = is_gguf() ? key.gguf : key.hugging_face;
  auto other = names_.find(name);
  return prefix_ + (other == names_.end() ? name : other->second);
}

const nlohmann::json* Keys::find(const KeyNames& key) const {
  const nlohmann::json* object = &file_.metadata;
  std::string name = full(key);
  file_.asked.insert(name);
  while (file_.kind == ModelFile::Kind::hugging_face) {  // config.json nests; GGUF's keys are flat
    size_t dot = name.find('.');
    if (dot == std::string::npos) break;
    auto outer = object->find(name.substr(0, dot));
    if (outer == object->end() || !outer->is_object()) return nullptr;
    object = &*outer;
    name = name.substr(dot + 1);
  }
  auto at = object->find(name);
  return at == object->end() || at->is_null() ? nullptr : &*at;
}

void Keys::note(const std::string& gguf_key, nlohmann::json value) const {
  if (note_) note_->gguf_keys[note_prefix_ + gguf_key] = std::move(value);
}

bool Keys::has(const KeyNames& key) const { return find(key) != nullptr; }

uint32_t Keys::u32(const KeyNames& key, uint32_t low, uint32_t high) const {
  const nlohmann::json* value = find(key);
  if (!value) fail(VKMOE_ERROR_BAD_FILE, file_.path, ": key ", full(key), " is missing");
  if (!value->is_number_integer() || (value->is_number_integer() && !value->is_number_unsigned() && value->get<int64_t>() < 0) ||
      value->get<uint64_t>() < low || value->get<uint64_t>() > high)
    fail(VKMOE_ERROR_BAD_FILE, file_.path, ": key ", full(key), ": expected an integer from ", low, " to ", high,
         ", found ", value->dump().substr(0, 60));
  return noted(key, uint32_t(value->get<uint64_t>()));
}

uint32_t Keys::u32_or(const KeyNames& key, uint32_t fallback, uint32_t low, uint32_t high) const {
  return has(key) ? u32(key, low, high) : noted(key, fallback);
}

double Keys::number(const KeyNames& key) const {
  const nlohmann::json* value = find(key);
  if (!value) fail(VKMOE_ERROR_BAD_FILE, file_.path, ": key ", full(key), " is missing");
  if (!value->is_number() || !std::isfinite(value->get<double>()))
    fail(VKMOE_ERROR_BAD_FILE, file_.path, ": key ", full(key), ": expected a finite number, found ",
         value->dump().substr(0, 60));
  return noted(key, value->get<double>());
}

double Keys::number_or(const KeyNames& key, double fallback) const {
  return has(key) ? number(key) : noted(key, fallback);
}

std::vector<float> Keys::numbers(const KeyNames& key) const {
  const nlohmann::json* list = find(key);
  std::vector<float> values;
  if (!list) return values;
  if (!list->is_array() || list->size() > 1024) refuse(key, "expected a list of at most 1024 numbers");
  for (const nlohmann::json& value : *list) {
    if (!value.is_number() || !(value.get<double>() > 0) || !std::isfinite(value.get<float>()))
      refuse(key, "expected numbers above 0");
    values.push_back(value.get<float>());
  }
  return values;
}

bool Keys::flag_or(const KeyNames& key, bool fallback) const {
  const nlohmann::json* value = find(key);
  if (!value) return noted(key, fallback);
  if (!value->is_boolean())
    fail(VKMOE_ERROR_BAD_FILE, file_.path, ": key ", full(key), ": expected true or false, found ",
         value->dump().substr(0, 60));
  return noted(key, value->get<bool>());
}

std::string Keys::text_or(const KeyNames& key, const std::string& fallback) const {
  const nlohmann::json* value = find(key);
  if (!value) return fallback;
  if (!value->is_string()) fail(VKMOE_ERROR_BAD_FILE, file_.path, ": key ", full(key), ": expected a string");
  return value->get<std::string>();
}

void Keys::expect_text(const KeyNames& key, const std::string& value) const {
  std::vector<std::string> known = split_at_bars(value);
  if (has(key) && std::find(known.begin(), known.end(), text_or(key, "")) == known.end())
    refuse(key, "expected \"" + value + "\"");
}

void Keys::expect_false(const KeyNames& key) const {
  if (flag_or(key, false)) refuse(key, "expected false");
}

void Keys::refuse(const KeyNames& key, const std::string& why) const {
  const nlohmann::json* value = find(key);
  fail(VKMOE_ERROR_UNSUPPORTED, file_.path, ": key ", full(key), " = ",
       value ? value->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).substr(0, 100) : "(none)",
       " is not supported: ", why);
}

namespace {

void read_common_gguf(const ModelFile& file, const std::string& prefix, const CommonOptions& options, Hyper& h) {
  Keys keys(file, prefix);
  h.n_layers = keys.u32("block_count", 1, 4096);
  h.hidden = keys.u32("embedding_length", 1, 1 << 20);
  h.n_heads = keys.u32("attention.head_count", 1, 4096);
  h.n_kv_heads = keys.u32_or("attention.head_count_kv", h.n_heads, 1, 4096);
  h.head_dim = keys.u32_or("attention.key_length", h.hidden / h.n_heads, 1, 1024);
  bool latent = keys.has("attention.kv_lora_rank");
  if (!latent && keys.u32_or("attention.value_length", h.head_dim, 1, 1024) != h.head_dim)
    keys.refuse("attention.value_length", cat("expected the key length ", h.head_dim));
  h.context_tokens = keys.u32("context_length", 1, 1u << 30);
  const char* epsilon = keys.has("attention.layer_norm_epsilon") ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
  h.rms_epsilon = float(options.norm_epsilon < 0 ? keys.number(epsilon) : keys.number_or(epsilon, options.norm_epsilon));
  h.rope_theta = keys.number_or("rope.freq_base", 10000);
  h.rotary_dim = keys.u32_or("rope.dimension_count", h.head_dim, 2, 1024);
}

void read_common_hugging_face(const ModelFile& file, const std::string& gguf_prefix, const CommonOptions& options, Hyper& h) {
  Keys keys(file, gguf_prefix, h, options.names);
  h.n_layers = keys.u32({"num_hidden_layers", "block_count"}, 1, 4096);
  h.hidden = keys.u32({"hidden_size", "embedding_length"}, 1, 1 << 20);
  h.n_heads = keys.u32({"num_attention_heads", "attention.head_count"}, 1, 4096);
  h.n_kv_heads = keys.u32_or({"num_key_value_heads", "attention.head_count_kv"}, h.n_heads, 1, 4096);
  h.head_dim = keys.u32_or({"head_dim", "attention.key_length"}, h.hidden / h.n_heads, 1, 1024);
  h.context_tokens = keys.u32({"max_position_embeddings", "context_length"}, 1, 1u << 30);
  const KeyNames epsilon("rms_norm_eps", "attention.layer_norm_rms_epsilon");
  h.rms_epsilon = float(options.norm_epsilon < 0 ? keys.number(epsilon) : keys.number_or(epsilon, options.norm_epsilon));
  h.rotary_dim = h.head_dim;
  h.rope_theta = keys.number_or("rope_theta", 10000);
  double rotary = keys.number_or("partial_rotary_factor", 1);
  if (!(rotary > 0 && rotary <= 1)) keys.refuse("partial_rotary_factor", "expected a number above 0, at most 1");
  h.rotary_dim = keys.has("rotary_dim") ? keys.u32("rotary_dim", 2, h.head_dim) : uint32_t(h.head_dim * rotary);
  keys.expect_text("hidden_act", options.activation);
  for (const char* name : {"rope_parameters", "rope_scaling"}) {
    Keys rope(file, cat(name, "."));
    if (rope.has("partial_rotary_factor")) {
      rotary = rope.number("partial_rotary_factor");
      if (!(rotary > 0 && rotary <= 1)) rope.refuse("partial_rotary_factor", "expected a number above 0, at most 1");
      h.rotary_dim = uint32_t(h.head_dim * rotary);
    }
    h.rope_theta = rope.number_or("rope_theta", h.rope_theta);
  }
  keys.note("attention.value_length", h.head_dim);
  auto ff = file.metadata.find("intermediate_size");
  if (ff != file.metadata.end() && ff->is_number_unsigned()) keys.note("feed_forward_length", *ff);
}

// Multi-head latent attention where the file has its keys.
void read_latent(const Keys& keys, bool gguf, Hyper& h) {
  LatentAttention& l = h.latent;
  const KeyNames kv_rank("kv_lora_rank", "attention.kv_lora_rank"), q_rank("q_lora_rank", "attention.q_lora_rank");
  if (!keys.has(kv_rank)) return;
  l.kv_rank = keys.u32(kv_rank, 0, 2048);
  if (!l.kv_rank) return;
  if (keys.has(q_rank)) l.q_rank = keys.u32(q_rank, 0, 1 << 20);
  if (gguf) {
    bool absorbed = keys.has("attention.key_length_mla");  // newer files give key_length as the cache has it
    const char* key = absorbed ? "attention.key_length_mla" : "attention.key_length";
    l.value_dim = keys.u32(absorbed ? "attention.value_length_mla" : "attention.value_length", 1, 1024);
    l.nope_dim = keys.u32(key, h.rotary_dim + 1, 2048) - h.rotary_dim;
  } else {
    if (h.rotary_dim != h.head_dim) keys.refuse("partial_rotary_factor", "expected 1 with kv_lora_rank");
    h.rotary_dim = keys.u32("qk_rope_head_dim", 2, 1024);
    l.nope_dim = keys.u32("qk_nope_head_dim", 1, 1024);
    l.value_dim = keys.u32("v_head_dim", 1, 1024);
  }
  for (uint32_t size : {l.kv_rank, l.nope_dim, h.rotary_dim})
    if (size % 4 != 0)
      keys.refuse(kv_rank, cat("with ", l.nope_dim, " + ", h.rotary_dim, " dimensions a head: expected multiples of 4"));
  h.n_kv_heads = 1;
  h.head_dim = l.kv_rank + h.rotary_dim;
  keys.note("attention.head_count_kv", h.n_kv_heads);
  keys.note("attention.key_length", h.head_dim);
  keys.note("attention.value_length", l.kv_rank);
  keys.note("attention.key_length_mla", l.nope_dim + h.rotary_dim);
  keys.note("attention.value_length_mla", l.value_dim);
}

}  // namespace

Hyper read_common(const ModelFile& file, const std::string& gguf_prefix, const CommonOptions& options) {
  Hyper h;
  if (file.kind == ModelFile::Kind::gguf) read_common_gguf(file, gguf_prefix, options, h);
  else read_common_hugging_face(file, gguf_prefix, options, h);
  h.rope_scaling = read_rope_scaling(file, gguf_prefix, h.context_tokens);
  bool gguf = file.kind == ModelFile::Kind::gguf;
  read_latent(Keys(file, gguf_prefix, h), gguf, h);
  if (h.latent.kv_rank) {
    double mscale = yarn_mscale(h.rope_scaling.factor, h.rope_scaling.mscale_all_dim);
    h.attention_scale = float(mscale * mscale / std::sqrt(double(h.latent.nope_dim + h.rotary_dim)));
  }
  check_attention_sizes(file, h);
  return h;
}

void check_attention_sizes(const ModelFile& file, const Hyper& h) {
  if (h.n_heads % h.n_kv_heads != 0)
    fail(VKMOE_ERROR_BAD_FILE, file.path, ": ", h.n_heads, " query heads cannot share ", h.n_kv_heads, " key-value heads");
  if (h.head_dim % 4 != 0 || h.rotary_dim % 2 != 0 || h.rotary_dim > h.head_dim)
    fail(VKMOE_ERROR_UNSUPPORTED, file.path, ": head size ", h.head_dim, " with ", h.rotary_dim,
         " rotary dimensions is not supported: expected a multiple of 4 and an even number of at most that");
  if (!(h.rope_theta > 0) || !(h.rms_epsilon >= 0))
    fail(VKMOE_ERROR_BAD_FILE, file.path, ": rope_theta ", h.rope_theta, " and norm epsilon ", h.rms_epsilon,
         ": expected positive numbers");
  check_rope_factors(file, h.rope_scaling, h.rotary_dim);
}

void set_decoder_prompt(const ModelFile& file, Hyper& h, uint32_t start) {
  auto id_of = [&](const char* key) -> std::optional<int32_t> {
    for (const auto* config : {&file.generation_config, &file.metadata}) {
      auto at = config->is_object() ? config->find(key) : config->end();
      if (at == config->end() || at->is_null()) continue;
      if (!at->is_number_unsigned() || at->get<uint64_t>() >= 1u << 24)
        fail(VKMOE_ERROR_BAD_FILE, file.path, ": key ", key, ": expected a token id, found ", at->dump().substr(0, 60));
      return at->get<int32_t>();
    }
    return std::nullopt;
  };
  h.decoder_prompt = {id_of("decoder_start_token_id").value_or(int32_t(start))};
  if (std::optional<int32_t> forced = id_of("forced_bos_token_id")) h.decoder_prompt.push_back(*forced);
}

std::vector<WeightNames> with_common(std::initializer_list<WeightNames> own) {
  std::vector<WeightNames> names = {
      {"embedding", "model.embed_tokens.weight", "token_embd.weight"},
      {"head", "lm_head.weight", "output.weight"},
      {"head.bias", "lm_head.bias", "output.bias"},
      {"final_norm", "model.norm.weight", "output_norm.weight"},
      {"attention_norm", "model.layers.{L}.input_layernorm.weight", "blk.{L}.attn_norm.weight"},
      {"q", "model.layers.{L}.self_attn.q_proj.weight", "blk.{L}.attn_q.weight"},
      {"k", "model.layers.{L}.self_attn.k_proj.weight", "blk.{L}.attn_k.weight"},
      {"v", "model.layers.{L}.self_attn.v_proj.weight", "blk.{L}.attn_v.weight"},
      {"o", "model.layers.{L}.self_attn.o_proj.weight", "blk.{L}.attn_output.weight"},
      {"q.bias", "model.layers.{L}.self_attn.q_proj.bias", "blk.{L}.attn_q.bias"},
      {"k.bias", "model.layers.{L}.self_attn.k_proj.bias", "blk.{L}.attn_k.bias"},
      {"v.bias", "model.layers.{L}.self_attn.v_proj.bias", "blk.{L}.attn_v.bias"},
      {"o.bias", "model.layers.{L}.self_attn.o_proj.bias", "blk.{L}.attn_output.bias"},
      {"q_norm", "model.layers.{L}.self_attn.q_norm.weight", "blk.{L}.attn_q_norm.weight"},
      {"k_norm", "model.layers.{L}.self_attn.k_norm.weight", "blk.{L}.attn_k_norm.weight"},
      {"ffn_norm", "model.layers.{L}.post_attention_layernorm.weight", "blk.{L}.ffn_norm.weight"},
      {"router", "model.layers.{L}.mlp.gate.weight", "blk.{L}.ffn_gate_inp.weight"},
      {"gate_up", "(none)", "blk.{L}.ffn_gate_up_exps.weight"},
      {"gate", "model.layers.{L}.mlp.experts.{E}.gate_proj.weight", "blk.{L}.ffn_gate_exps.weight"},
      {"up", "model.layers.{L}.mlp.experts.{E}.up_proj.weight", "blk.{L}.ffn_up_exps.weight"},
      {"down", "model.layers.{L}.mlp.experts.{E}.down_proj.weight", "blk.{L}.ffn_down_exps.weight"},
      {"dense_gate", "model.layers.{L}.mlp.gate_proj.weight", "blk.{L}.ffn_gate.weight"},
      {"dense_up", "model.layers.{L}.mlp.up_proj.weight", "blk.{L}.ffn_up.weight"},
      {"dense_down", "model.layers.{L}.mlp.down_proj.weight", "blk.{L}.ffn_down.weight"},
      {"dense_gate.bias", "model.layers.{L}.mlp.gate_proj.bias", "(none)"},
      {"dense_up.bias", "model.layers.{L}.mlp.up_proj.bias", "(none)"},
      {"dense_down.bias", "model.layers.{L}.mlp.down_proj.bias", "(none)"},
  };
  names.insert(names.end(), own);  // a later name for a role takes the place of an earlier one
  return names;
}

GateRule sigmoid_bias_top_k(uint32_t n_experts, uint32_t top_k, bool renormalize, float scale) {
  GateRule rule = softmax_top_k(n_experts, top_k, renormalize);
  rule.score = SCORE_SIGMOID;
  rule.has_bias = 1;
  rule.denominator_add = 1e-20f;
  rule.scale = scale;
  return rule;
}

void read_groups(const Keys& keys, GateRule& rule) {
  const KeyNames count("n_group", "expert_group_count"), used("topk_group", "expert_group_used_count");
  rule.n_groups = keys.u32_or(count, 1, 0, GATE_MAX_GROUPS);
  rule.group_score = GROUP_SUM2;
  if (rule.n_groups <= 1) return keys.note(used.gguf, 1u);
  rule.top_groups = keys.u32(used, 1, rule.n_groups);
  if (rule.n_experts % rule.n_groups != 0) keys.refuse(count, cat("expected a divisor of ", rule.n_experts, " experts"));
  if (rule.n_experts / rule.n_groups * rule.top_groups < rule.top_k)
    keys.refuse(used, cat("expected groups of at least ", rule.top_k, " experts together"));
}

std::vector<bool> local_layers(const ModelFile& file, const std::string& gguf_prefix, const std::string& kind,
                               uint32_t n_layers, uint32_t period) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  Keys keys(file, gguf ? gguf_prefix : "");
  std::string key = gguf ? "attention.sliding_window_pattern" : "layer_types";
  const nlohmann::json* list = keys.has(key) ? &file.metadata[gguf ? gguf_prefix + key : key] : nullptr;
  if (list && gguf && !list->is_array()) period = keys.u32(key, 0, 1 << 20);  // 0: all layers are local
  std::vector<bool> local;
  if (!list || !list->is_array()) {
    if (list && !gguf) keys.refuse(key, "expected a list");
    for (uint32_t layer = 0; layer < n_layers; ++layer) local.push_back(period == 0 || (layer + 1) % period != 0);
    return local;
  }
  if (list->size() < n_layers) keys.refuse(key, cat("expected a list of ", n_layers));
  for (uint32_t layer = 0; layer < n_layers; ++layer) {
    const nlohmann::json& value = (*list)[layer];
    local.push_back(gguf ? value == true : value == kind);
    if (!local.back() && (gguf ? value != false : value != "full_attention"))
      keys.refuse(key, gguf ? "expected true or false" : cat("expected \"", kind, "\" or \"full_attention\" for layer ", layer));
  }
  return local;
}

void read_attention_bias(const ModelFile& file, const Keys& keys, Hyper& h, const char* key) {
  bool gguf = file.kind == ModelFile::Kind::gguf, all = !gguf && keys.flag_or(key, false);
  const std::pair<const char*, const char*> roles[] = {{"q", "q"}, {"k", "k"}, {"v", "v"}, {"o", "output"}};
  for (auto [role, name] : roles)
    if (all || (gguf && file.find(cat("blk.0.attn_", name, ".bias")))) h.biased.insert(role);
}

void set_sparse_layers(const ModelFile& file, const Keys& keys, Hyper& h) {
  uint32_t step = keys.u32_or("decoder_sparse_step", 1, 1, 1 << 20);
  for (uint32_t layer = 0; layer < h.n_layers; ++layer) h.layer_has_experts.push_back((layer + 1) % step == 0);
  if (!keys.has("mlp_only_layers")) return;
  const nlohmann::json& only = file.metadata["mlp_only_layers"];
  if (!only.is_array()) keys.refuse("mlp_only_layers", "expected a list of layers");
  for (const nlohmann::json& layer : only) {
    if (!layer.is_number_unsigned() || layer.get<uint64_t>() >= h.n_layers)
      keys.refuse("mlp_only_layers", cat("expected layers below ", h.n_layers));
    h.layer_has_experts[layer.get<uint64_t>()] = false;
  }
}

void set_first_dense(Hyper& h, uint32_t n_dense) {
  for (uint32_t layer = 0; layer < h.n_layers; ++layer) h.layer_has_experts.push_back(layer >= n_dense);
}

GateRule softmax_top_k(uint32_t n_experts, uint32_t top_k, bool renormalize) {
  GateRule rule = {};
  rule.n_experts = n_experts;
  rule.top_k = top_k;
  rule.score = SCORE_SOFTMAX;
  rule.weight = WEIGHT_SCORE;
  rule.renormalize = renormalize;
  rule.denominator_min = -std::numeric_limits<float>::infinity();
  rule.scale = 1;
  return rule;
}

}  // namespace vkmoe
