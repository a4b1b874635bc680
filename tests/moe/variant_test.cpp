// The goldens' weights under other configurations against transformers' logits (tools/make_variant_goldens.py), and
// configurations that are nearly but not quite supported.
#include <list>

#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;
using nlohmann::json;

namespace {

struct Variant {
  const char *family, *name;
  const char* changes;  // of config.json
  float bias;           // added to the selection biases: with -1.5 all selection scores are negative
};
const Variant variants[] = {
    {"dots1", "groups", R"({"n_group": 4, "topk_group": 2})", -1.5f},
    {"glm4_moe", "groups", R"({"n_group": 4, "topk_group": 2})", -1.5f},
    {"deepseek_v3", "groups", R"({"rope_interleave": false, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}})",
     -1.5f},
    {"deepseek_v2", "yarn", R"({"rms_norm_eps": 1e-3, "rope_parameters": null, "rope_theta": 10000.0, "rope_scaling":
     {"type": "yarn", "factor": 40.0, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 0.707, "mscale_all_dim": 0.707,
      "original_max_position_embeddings": 16}})", 0},
    {"deepseek_v2_lite", "linear", R"({"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}})", 0},
    {"dots1", "biased", R"({"attention_bias": true, "sliding_window": 5, "layer_types":
     ["sliding_attention", "full_attention", "sliding_attention"]})", 0},
    {"olmoe", "biased", R"({"attention_bias": true})", 0},
    {"hunyuan_v1_moe", "biased", R"({"attention_bias": true})", 0},
    {"granitemoeshared", "biased", R"({"attention_bias": true})", 0},
    {"qwen3_moe", "biased", R"({"attention_bias": true, "mlp_only_layers": [1], "intermediate_size": 40})", 0},
    {"qwen2_moe", "windows", R"({"use_sliding_window": true, "sliding_window": 5, "mlp_only_layers": [0],
     "intermediate_size": 40, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]})", 0},
    {"deepseek_v2", "biased", R"({"attention_bias": true, "mlp_bias": true})", 0},
    {"deepseek_v2_lite", "biased", R"({"attention_bias": true})", 0},
    {"ernie4_5_moe", "biased", R"({"use_bias": true, "tie_word_embeddings": true})", 0},
};

// A golden's files with other values in config.json and in the selection biases, and with more tensors; it holds those.
struct Changed {
  std::shared_ptr<ModelFile> file;
  std::list<std::vector<float>> values;

  Changed(const std::string& folder, const json& changes, float bias) : file(ModelFile::open(data(folder))) {
    file->metadata.update(changes);
    for (auto& [name, tensor] : file->tensors) {
      if (bias == 0 || name.find("correction_bias") == std::string::npos) continue;
      values.push_back(vector_values(tensor));
      for (float& v : values.back()) v += bias;
      tensor.data = reinterpret_cast<const uint8_t*>(values.back().data());
    }
    if (changes.value("tie_word_embeddings", false)) file->tensors.erase("lm_head.weight");
  }

  void add(const std::string& name, std::vector<uint64_t> shape, std::vector<float> floats) {
    values.push_back(std::move(floats));
    Tensor tensor{name, find_format("F32"), std::move(shape), reinterpret_cast<const uint8_t*>(values.back().data()), 0, {}, {}};
    tensor.size_bytes = tensor.elems() * sizeof(float);
    file->tensors[name] = tensor;
  }

  // What a golden-VARIANT.safetensors holds beside ids and logits.
  void add_tensors(const std::string& golden) {
    SafetensorsFile more(golden);
    for (const auto& [name, shape] : more.shapes())
      if (name != "input_ids" && name != "logits") add(name, shape, more.floats(name.c_str()));
  }
};

std::vector<float> logits_of(std::shared_ptr<ModelSpec> spec, const std::vector<int32_t>& ids) {
  DeviceSession session(place_model(device(), *spec, [](uint64_t, uint64_t) {}), 64, 0, false);
  return feed(session, ids, spec->hyper.vocab, ids.size());
}

}  // namespace

TEST_CASE("other configurations of the goldens: negative selection scores in groups, RoPE scaling, biases, windows") {
  for (const Variant& v : variants) {
    CAPTURE(v.family);
    CAPTURE(v.name);
    const std::string path = data(cat("goldens/", v.family, "/golden-", v.name, ".safetensors"));
    Golden golden(path);
    Changed changed(cat("goldens/", v.family), json::parse(v.changes), v.bias);
    changed.add_tensors(path);
    auto spec = std::make_shared<ModelSpec>(read_model_spec(changed.file));
    std::shared_ptr<Model> model = place_model(device(), *spec, [](uint64_t, uint64_t) {});
    DeviceSession on_device(model, 64, 0, false), single(model, 64, 0, false);
    ref::RefSession on_cpu(spec, 64);
    uint32_t vocab = spec->hyper.vocab;
    std::vector<float> prefill = feed(on_device, golden.ids, vocab, golden.ids.size());
    double error = nmse(prefill, golden.logits);
    MESSAGE(std::string(v.family), " ", std::string(v.name), ": normalised mean square error ", error);
    CHECK(error < 1e-9);
    CHECK(feed(single, golden.ids, vocab, 1) == prefill);
    CHECK(nmse(feed(on_cpu, golden.ids, vocab, golden.ids.size()), golden.logits) < 1e-9);
  }
  check_no_validation_messages();
}

TEST_CASE("a head tied to the embedding by config.json: its bias counts, and one that differs is taken") {
  Golden golden(data("goldens/phimoe/golden.safetensors"));
  const json tied = {{"tie_word_embeddings", true}};
  Changed other("goldens/phimoe", json::object(), 0), same("goldens/phimoe", json::object(), 0);
  const Tensor head = other.file->tensors["lm_head.weight"];
  other.file->metadata.update(tied);  // as transformers 5: what differs is not tied
  same.file->metadata.update(tied);   // embedding and head alike, in two places
  same.add("model.embed_tokens.weight", head.shape, vector_values(head));
  auto spec = [](Changed& changed) { return std::make_shared<ModelSpec>(read_model_spec(changed.file)); };
  CHECK(!spec(other)->tied_head);
  CHECK(nmse(logits_of(spec(other), golden.ids), golden.logits) < 1e-9);
  CHECK(spec(same)->tied_head);
  std::vector<float> expected = logits_of(spec(same), golden.ids);
  same.file->metadata["tie_word_embeddings"] = false;
  CHECK(logits_of(spec(same), golden.ids) == expected);
  check_no_validation_messages();
}

TEST_CASE("latent attention: the cache holds a latent and one rotary part a token") {
  const Hyper h = read_spec(data("goldens/deepseek_v3"))->hyper;
  CHECK(kv_cache_bytes(h, 10, false) == h.n_layers * 10 * (32 + 16) * sizeof(float));
  CHECK(kv_cache_bytes(h, 10, true) == h.n_layers * 10 * (32 + 16) * 2);
}

TEST_CASE("what a DeepSeek configuration may not say is refused with key and value") {
  struct Case {
    const char *folder, *changes, *message;
  };
  for (const Case& c : {Case{"deepseek_v3", R"({"scoring_func": "softmax"})", "key scoring_func = \"softmax\" is not supported"},
                        {"deepseek_v3", R"({"topk_method": "greedy"})", "key topk_method = \"greedy\" is not supported"},
                        {"deepseek_v3", R"({"n_group": 3})", "key n_group = 3 is not supported: expected a divisor of 8 experts"},
                        {"deepseek_v3", R"({"n_group": 8, "topk_group": 1})", "key topk_group = 1 is not supported"},
                        {"deepseek_v3", R"({"topk_group": 5})", "key topk_group: expected an integer from 1 to 4, found 5"},
                        {"deepseek_v3", R"({"n_group": null})", "key n_group is missing"},
                        {"deepseek_v3", R"({"qk_nope_head_dim": 18})", "expected multiples of 4"},
                        {"deepseek_v3", R"({"kv_lora_rank": 28})", "model.layers.0.self_attn.kv_a_proj_with_mqa.weight"},
                        {"deepseek_v3", R"({"kv_lora_rank": null})", "key kv_lora_rank = (none) is not supported"},
                        {"deepseek_v3", R"({"mlp_bias": true})", "key mlp_bias = true is not supported"},
                        {"deepseek_v3", R"({"moe_layer_freq": 2})", "key moe_layer_freq = 2 is not supported"},
                        {"dots1", R"({"kv_lora_rank": 32, "q_lora_rank": 8, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16})",
                         "the settings ask for the weights q_a, which are not known of its architecture"},
                        {"deepseek_v2", R"({"topk_method": "noaux_tc"})", "key topk_method = \"noaux_tc\" is not supported"},
                        {"deepseek_v2", R"({"rope_scaling": {"type": "ntk", "factor": 2}})", "rope_scaling.type = \"ntk\""}}) {
    CAPTURE(c.changes);
    Changed changed(cat("goldens/", c.folder), json::parse(c.changes), 0);
    try {
      read_model_spec(changed.file);
      FAIL_CHECK("no error");
    } catch (const Error& error) {
      CHECK_MESSAGE(std::string(error.what()).find(c.message) != std::string::npos, std::string(error.what()));
    }
  }
}
