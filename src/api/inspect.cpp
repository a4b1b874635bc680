// vkmoe_inspect_json: a model from its file alone.
#include <algorithm>
#include <map>

#include "api/handles.h"
#include "moe/activations.h"

namespace vkmoe {

namespace {

// One number where all layers agree, else a list by layer.
nlohmann::ordered_json per_layer(const Hyper& h, uint32_t KeySpan::*member) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const LayerAttention& layer : h.attention) all.push_back(layer.span.*member);
  bool same = std::all_of(all.begin(), all.end(), [&](const auto& value) { return value == all[0]; });
  return same ? all[0] : all;
}

std::vector<uint32_t> dense_layers(const Hyper& h) {
  std::vector<uint32_t> dense;
  for (uint32_t i = 0; i < h.n_layers; ++i)
    if (!h.layer_has_experts[i]) dense.push_back(i);
  return dense;
}

// What an encoder has for itself; capacities are the decoder's, too.
nlohmann::ordered_json encoder_json(const ModelSpec& encoder) {
  const Hyper& h = encoder.hyper;
  nlohmann::ordered_json json = {{"layers", h.n_layers}, {"heads", h.n_heads}, {"dense_layers", dense_layers(h)},
                                 {"expert_ff", h.expert_ff}};
  if (h.capacity_fraction > 0) json["expert_capacity_of_tokens"] = h.capacity_fraction;
  else json["expert_capacity"] = h.gate.capacity;
  json["experts_by_rank"] = h.gate.expert_of_rank != 0;
  return json;
}

}  // namespace

std::string inspect_json(const std::string& path, uint32_t context_tokens) {
  using nlohmann::ordered_json;
  std::shared_ptr<ModelFile> file = ModelFile::open(path);
  ModelSpec spec = read_model_spec(file);
  const Hyper& h = spec.hyper;
  ParameterCount count = count_parameters(spec);
  uint32_t context = context_tokens ? context_tokens : h.context_tokens;

  std::map<std::string, std::pair<uint64_t, uint64_t>> by_type;
  for (const auto& [name, tensor] : file->tensors) {
    by_type[tensor.format->name].first += 1;
    by_type[tensor.format->name].second += tensor.size_bytes;
  }
  ordered_json types = ordered_json::array();
  for (const auto& [type, sums] : by_type) types.push_back({{"type", type}, {"count", sums.first}, {"bytes", sums.second}});

  const uint32_t chunk = std::min(512u, context);  // of a GPU, which keeps fp16
  uint32_t n_shared = 0;
  for (const LayerSpec& layer : spec.layers) n_shared = std::max(n_shared, shared_pieces(h, layer));
  uint64_t cache = kv_cache_bytes(h, context, true);
  uint64_t activations = activation_bytes(h, n_shared, context, h.gate.drop ? context : chunk);
  if (spec.encoder) {
    cache += kv_cache_bytes(spec.encoder->hyper, context, true);
    activations += activation_bytes(spec.encoder->hyper, 0, context, context);
  }
  ordered_json tokenizer;
  bool chat = false;
  try {
    std::unique_ptr<Tokenizer> t = Tokenizer::load(*file);
    tokenizer = {{"vocab_size", t->vocab_size()}, {"bos", t->bos}, {"add_bos", t->add_bos}, {"end_ids", t->end_ids}};
    chat = !t->chat_template.empty();
  } catch (const Error& error) {
    tokenizer = {{"error", error.what()}};
  }
  std::string name = file->metadata.contains("general.name") && file->metadata["general.name"].is_string()
                         ? file->metadata["general.name"].get<std::string>()
                         : "";
  ordered_json all = {
      {"path", path},
      {"kind", file->kind == ModelFile::Kind::gguf ? "GGUF" : "Hugging Face folder"},
      {"architecture", h.architecture},
      {"name", name},
      {"hyper_parameters",
       {{"layers", h.n_layers},
        {"hidden", h.hidden},
        {"heads", h.n_heads},
        {"kv_heads", h.n_kv_heads},
        {"head_dim", h.head_dim},
        {"vocab", h.vocab},
        {"context_tokens", h.context_tokens},
        {"rope_theta", h.rope_theta},
        {"rotary_dim", h.rotary_dim},
        {"rms_epsilon", h.rms_epsilon},
        {"window", per_layer(h, &KeySpan::window)},
        {"chunk", per_layer(h, &KeySpan::chunk)},
        {"experts", h.n_experts},
        {"experts_per_token", h.top_k},
        {"expert_ff", h.expert_ff},
        {"dense_layers", dense_layers(h)},
        {"renormalize", h.gate.renormalize != 0},
        {"tied_head", spec.tied_head}}},
      {"parameters", {{"total", count.total}, {"active", count.active}}},
      {"tensors", {{"count", file->tensors.size()}, {"by_type", types}}},
      {"bytes_per_decoded_token", count.decode_weight_bytes},
      {"kv_cache_bytes_per_token", kv_cache_bytes(h, 1, true)},
      {"memory",
       {{"context_tokens", context},
        {"weights_bytes", count.weight_bytes},
        {"kv_cache_bytes", cache},
        {"activations_bytes", activations},
        {"total_bytes", count.weight_bytes + cache + activations}}},
      {"tokenizer", tokenizer},
      {"chat_template", chat},
  };
  if (spec.encoder) all["encoder"] = encoder_json(*spec.encoder);
  return all.dump(2, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace vkmoe
