// The goldens' weights under other configurations against transformers' logits (tools/make_variant_goldens.py), and
// configurations that are nearly but not quite supported.
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
};

// A golden's files with other values in config.json and in the selection biases, which it holds.
struct Changed {
  std::shared_ptr<ModelFile> file;
  std::vector<std::vector<float>> biases;

  Changed(const std::string& folder, const json& changes, float bias) : file(ModelFile::open(data(folder))) {
    file->metadata.update(changes);
    for (auto& [name, tensor] : file->tensors) {
      if (bias == 0 || name.find("correction_bias") == std::string::npos) continue;
      biases.push_back(vector_values(tensor));
      for (float& v : biases.back()) v += bias;
      tensor.data = reinterpret_cast<const uint8_t*>(biases.back().data());
    }
  }
};

}  // namespace

TEST_CASE("other configurations of the goldens: negative selection scores in groups, RoPE scaling") {
  for (const Variant& v : variants) {
    CAPTURE(v.family);
    CAPTURE(v.name);
    Golden golden(data(cat("goldens/", v.family, "/golden-", v.name, ".safetensors")));
    Changed changed(cat("goldens/", v.family), json::parse(v.changes), v.bias);
    auto spec = std::make_shared<ModelSpec>(read_model_spec(changed.file));
    std::shared_ptr<Model> model = place_model(device(), *spec, [](uint64_t, uint64_t) {});
    DeviceSession on_device(model, 64, 0, false);
    ref::RefSession on_cpu(spec, 64);
    uint32_t vocab = spec->hyper.vocab;
    double error = nmse(feed(on_device, golden.ids, vocab, golden.ids.size()), golden.logits);
    MESSAGE(std::string(v.family), " ", std::string(v.name), ": normalised mean square error ", error);
    CHECK(error < 1e-9);
    CHECK(nmse(feed(on_cpu, golden.ids, vocab, golden.ids.size()), golden.logits) < 1e-9);
  }
  check_no_validation_messages();
}

TEST_CASE("latent attention: the cache holds a latent and one rotary part a token") {
  const Hyper h = read_spec(data("goldens/deepseek_v3"))->hyper;
  CHECK(kv_cache_bytes(h, 10) == h.n_layers * 10 * (32 + 16) * sizeof(float));
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
                        {"deepseek_v3", R"({"attention_bias": true})", "key attention_bias = true is not supported"},
                        {"deepseek_v3", R"({"moe_layer_freq": 2})", "key moe_layer_freq = 2 is not supported"},
                        {"deepseek_v2", R"({"topk_method": "noaux_tc"})", "key topk_method = \"noaux_tc\" is not supported"},
                        {"deepseek_v2", R"({"rope_scaling": {"type": "ntk", "factor": 2}})", "rope_scaling.type = \"ntk\""}}) {
    CAPTURE(c.changes);
    Changed changed(cat("goldens/", c.folder), json::parse(c.changes), 0);
    try {
      read_model_spec(changed.file);
      FAIL_CHECK("no error");
    } catch (const Error& error) {
      CHECK_MESSAGE(std::string(error.what()).find(c.message) != std::string::npos, error.what());
    }
  }
}
