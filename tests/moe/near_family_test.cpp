// Files of gpt-oss and Llama 4 that say something unheard of are refused by key and value, and what is said in several ways
// is understood.
#include "moe/support.h"
#include "test_files.h"

using namespace vkmoe;
using vkmoe::test::data;

namespace {

// The spec of a golden whose config.json was changed.
ModelSpec changed(const char* golden, const nlohmann::json& changes) {
  std::shared_ptr<ModelFile> file = ModelFile::open(data(golden));
  file->metadata.update(changes);
  return read_model_spec(file);
}

void check_refused(const char* golden, const nlohmann::json& changes, std::initializer_list<const char*> parts,
                   vkmoe_status status = VKMOE_ERROR_UNSUPPORTED) {
  check_fails(status, parts, [&] { changed(golden, changes); });
}

}  // namespace

TEST_CASE("gpt-oss: near misses") {
  const char* golden = "goldens/gpt_oss";
  check_refused(golden, {{"layer_types", {"sliding_attention", "linear_attention", "full_attention"}}},
                {"layer_types", "sliding_attention", "layer 1"});
  check_refused(golden, {{"layer_types", {"full_attention"}}}, {"layer_types", "list of 3"});
  check_refused(golden, {{"layer_types", "full_attention"}}, {"layer_types", "list"});
  check_refused(golden, {{"hidden_act", "gelu"}}, {"hidden_act", "gelu"});
  check_refused(golden, {{"swiglu_limit", 0}}, {"swiglu_limit", "0"});
  check_refused(golden, {{"intermediate_size", 50}}, {"gate_up_proj", "(8, 64, 100)", "(8, 64, 96)"}, VKMOE_ERROR_BAD_FILE);
}

TEST_CASE("gpt-oss: a bias that is missing is named, and sliding layers alternate by default") {
  std::shared_ptr<ModelFile> file = ModelFile::open(data("goldens/gpt_oss"));
  file->metadata.erase("layer_types");
  ModelSpec spec = read_model_spec(file);
  CHECK(spec.hyper.attention[0].span.window == 16);
  CHECK(spec.hyper.attention[1].span.window == 0);
  CHECK(spec.hyper.attention[2].span.window == 16);
  CHECK(key_spans(spec.hyper).size() == 2);
  for (const char* name : {"model.layers.1.mlp.experts.gate_up_proj_bias", "model.layers.2.self_attn.sinks",
                           "model.layers.0.self_attn.o_proj.bias", "model.layers.0.mlp.router.bias"}) {
    std::shared_ptr<ModelFile> less = ModelFile::open(data("goldens/gpt_oss"));
    less->tensors.erase(name);
    check_fails(VKMOE_ERROR_BAD_FILE, {name, "missing"}, [&] { read_model_spec(less); });
  }
}

TEST_CASE("Llama 4: near misses, and layers by list or by interval") {
  const char* golden = "goldens/llama4";
  check_refused(golden, {{"layer_types", {"chunked_attention", "sliding_attention", "full_attention"}}}, {"layer_types", "layer 1"});
  check_refused(golden, {{"no_rope_layers", {1, 1}}}, {"no_rope_layers", "list of 3"});
  check_refused(golden, {{"no_rope_layers", {1, 2, 0}}}, {"no_rope_layers", "0 and 1"});
  check_refused(golden, {{"moe_layers", {0, 3}}}, {"moe_layers", "below 3"});
  check_refused(golden, {{"floor_scale", 0}}, {"floor_scale", "0"}, VKMOE_ERROR_BAD_FILE);
  ModelSpec spec = changed("goldens/llama4_published", {{"no_rope_layers", nlohmann::json::array()}, {"layer_types", nullptr},
                                                        {"moe_layers", nullptr}, {"attn_temperature_tuning", 4}});
  for (uint32_t layer = 0; layer < 4; ++layer) {
    const LayerAttention& attention = spec.hyper.attention[layer];
    CHECK(attention.rotary == (layer != 3));
    CHECK(attention.normed == (layer != 3));
    CHECK(attention.tempered == (layer == 3));
    CHECK(attention.span.chunk == (layer != 3 ? 8192 : 0));
    CHECK(spec.hyper.layer_has_experts[layer] == (layer % 2 == 1));
  }
  CHECK(!changed("goldens/llama4_published", {{"attn_temperature_tuning", false}}).hyper.attention[3].tempered);
}

TEST_CASE("Llama 4: the text model inside of a model of text and pictures") {
  TestFolder folder("llama4-wrapper");
  nlohmann::json text = nlohmann::json::parse(test::read_file(data("goldens/llama4/config.json")));
  nlohmann::json wrapper = {{"model_type", "llama4"}, {"text_config", text}, {"vision_config", {{"hidden_size", 32}}}};
  folder.write("config.json", wrapper.dump());
  std::string bytes = test::read_file(data("goldens/llama4/model.safetensors"));
  uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data(), 8);
  nlohmann::json header = nlohmann::json::parse(bytes.substr(8, header_bytes)), renamed;
  for (const auto& [name, entry] : header.items()) renamed[name == "__metadata__" ? name : "language_model." + name] = entry;
  std::string text_of = renamed.dump();
  uint64_t new_bytes = text_of.size();
  folder.write("model.safetensors", std::string(reinterpret_cast<const char*>(&new_bytes), 8) + text_of + bytes.substr(8 + header_bytes));
  test::Golden golden(data("goldens/llama4/golden.safetensors"));
  std::shared_ptr<ModelSpec> spec = test::read_spec(folder.path.string());
  ref::RefSession session(spec, 64);
  CHECK(test::nmse(test::feed(session, golden.ids, spec->hyper.vocab, golden.ids.size()), golden.logits) < 1e-9);
}
