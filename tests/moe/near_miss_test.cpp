// Files that are nearly a supported family: one message that names file, key or tensor, and what was found.
#include "moe/arch/arch.h"
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

using nlohmann::json;

// The message with which a file is refused; "" when it is not.
std::string refusal(std::shared_ptr<ModelFile> file) {
  try {
    read_model_spec(file);
  } catch (const Error& error) {
    std::string message = error.what();
    CHECK((error.status == VKMOE_ERROR_UNSUPPORTED || error.status == VKMOE_ERROR_BAD_FILE));
    CHECK_MESSAGE(message.find(file->path) == 0, message);
    CHECK(message.find('\n') == std::string::npos);
    return message;
  }
  return "";
}

void set(json& object, const std::string& path, const json& value) {
  size_t dot = path.find('.');
  if (dot == std::string::npos) object[path] = value;
  else set(object[path.substr(0, dot)], path.substr(dot + 1), value);
}

struct Miss {
  const char* model;  // of tests/data/goldens
  const char* key;    // of config.json
  json value;
};

}  // namespace

TEST_CASE("a key of config.json that changes the model is refused by name and value, not ignored") {
  const Miss misses[] = {
      {"mixtral", "model_type", "mixtral2"},
      {"mixtral", "hidden_act", "gelu"},
      {"mixtral", "num_hidden_layers", 0},
      {"mixtral", "num_local_experts", "eight"},
      {"mixtral", "num_experts_per_tok", -1},
      {"mixtral", "rms_norm_eps", "small"},
      {"mixtral", "attention_bias", true},
      {"mixtral", "rope_scaling", json{{"rope_type", "stretch"}}},
      {"qwen2_moe", "decoder_sparse_step", 0},
      {"qwen2_moe", "mlp_only_layers", json{3}},
      {"qwen2_moe", "layer_types", json{"sliding_attention", "full_attention", "full_attention"}},
      {"qwen3_moe", "mlp_only_layers", json{99}},
      {"qwen3_moe", "routed_scaling_factor", 2.5},
      {"olmoe", "clip_qkv", -1},
      {"granitemoe", "logits_scaling", 0},
      {"granitemoe", "position_embedding_type", "nope"},
      {"granitemoeshared", "mlp_bias", true},
      {"dots1", "n_group", 3},
      {"dots1", "layer_types", json{"full_attention", "chunked_attention", "full_attention"}},
      {"glm4_moe", "n_group", 3},
      {"glm4_moe", "partial_rotary_factor", 1.5},
      {"hunyuan_v1_moe", "use_cla", true},
      {"minimax_m2", "scoring_func", "softmax"},
      {"minimax_m2", "final_logit_softcapping", 30},
      {"phimoe", "num_experts_per_tok", 4},
      {"phimoe", "hidden_act", "relu"},
      {"phimoe", "router_jitter_noise", -0.5},
      {"dbrx", "ffn_config.ffn_act_fn.name", "gelu"},
      {"dbrx", "ffn_config.moe_normalize_expert_weights", 0},
      {"dbrx", "attn_config.clip_qkv", 0},
      {"dbrx", "attn_config.kv_n_heads", 3},
      {"grok", "max_attn_value", 0},
      {"grok", "hidden_act", "silu"},
      {"grok", "final_logit_softcapping", 50},
  };
  for (const Miss& miss : misses) {
    CAPTURE(miss.model);
    CAPTURE(miss.key);
    std::shared_ptr<ModelFile> file = ModelFile::open(data(std::string("goldens/") + miss.model));
    set(file->metadata, miss.key, miss.value);
    std::string message = refusal(file);
    INFO(message);
    bool one = miss.value.is_object() || (miss.value.is_array() && miss.value.size() == 1);
    std::string value = (one ? *miss.value.begin() : miss.value).dump();
    if (std::string(miss.key) == "attn_config.kv_n_heads") CHECK(message.find("cannot share 3 key-value heads") != std::string::npos);
    else CHECK(message.find(std::string(miss.key)) != std::string::npos);
    CHECK(message.find(value) != std::string::npos);
  }
}

TEST_CASE("where config.json says that there are biases, the first that is missing is named") {
  const std::pair<const char*, const char*> cases[] = {
      {"qwen3_moe", "attention_bias"},  {"olmoe", "attention_bias"}, {"granitemoe", "attention_bias"},
      {"hunyuan_v1_moe", "attention_bias"}, {"dots1", "attention_bias"}, {"deepseek_v2", "attention_bias"},
      {"deepseek_v2", "mlp_bias"}, {"ernie4_5_moe", "use_bias"}};
  for (auto [model, key] : cases) {
    CAPTURE(model);
    std::shared_ptr<ModelFile> file = ModelFile::open(data(std::string("goldens/") + model));
    file->metadata[key] = true;
    std::string message = refusal(file);
    CHECK_MESSAGE(message.find(".bias' with shape (") != std::string::npos, message);
  }
}

TEST_CASE("a GGUF key that changes the model is refused by name and value, not ignored") {
  const Miss misses[] = {
      {"mixtral/model-f32.gguf", "llama.attn_logit_softcapping", 30.0},
      {"mixtral/model-f32.gguf", "llama.expert_weights_scale", 2.5},
      {"mixtral/model-f32.gguf", "llama.rope.scaling.type", "stretch"},
      {"qwen2_moe/model-f32.gguf", "qwen2moe.attention.sliding_window", 4096},
      {"qwen3_moe/model-bf16.gguf", "qwen3moe.leading_dense_block_count", 1},
      {"olmoe/model-f32.gguf", "olmoe.expert_group_count", 4},
      {"dots1/model-f32.gguf", "dots1.attention.clamp_kqv", 8.0},
      {"granitemoe/model-f32.gguf", "granitemoe.final_logit_softcapping", 30.0},
      {"grok/model-f32.gguf", "grok.final_logit_softcapping", 50.0},
      {"grok/model-f32.gguf", "grok.expert_count", 7},
  };
  for (const Miss& miss : misses) {
    CAPTURE(miss.model);
    CAPTURE(miss.key);
    std::shared_ptr<ModelFile> file = ModelFile::open(data(std::string("goldens/") + miss.model));
    file->metadata[miss.key] = miss.value;
    std::string message = refusal(file);
    INFO(message);
    bool shape = std::string(miss.key) == "grok.expert_count";  // the tensors then have another shape
    CHECK(message.find(shape ? "ffn_gate_inp.weight': expected shape (7, 64), found (8, 64)" : miss.key) != std::string::npos);
    CHECK(message.find(miss.value.dump()) != std::string::npos);
  }
}

TEST_CASE("a missing tensor and one of another shape are named, in every family") {
  for (const char* model : {"mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "granitemoeshared", "dots1", "ernie4_5_moe",
                            "glm4_moe", "gpt_oss", "hunyuan_v1_moe", "llama4", "minimax_m2", "phimoe", "dbrx", "grok"}) {
    CAPTURE(model);
    std::shared_ptr<ModelFile> file = ModelFile::open(data(std::string("goldens/") + model));
    CHECK(refusal(file) == "");
    std::vector<std::string> names;
    for (const auto& [name, tensor] : file->tensors)
      if (name.find(".1.") != std::string::npos) names.push_back(name);
    CHECK(names.size() > 5);
    for (const std::string& name : names) {
      CAPTURE(name);
      auto tensor = file->tensors.extract(name);
      std::string missing = refusal(file);
      CHECK_MESSAGE(missing.find(name) != std::string::npos, missing);
      tensor.mapped().shape.back() += 1;
      auto at = file->tensors.insert(std::move(tensor)).position;
      std::string other = refusal(file);
      CHECK_MESSAGE(other.find(name) != std::string::npos, other);
      at->second.shape.back() -= 1;
    }
  }
}
