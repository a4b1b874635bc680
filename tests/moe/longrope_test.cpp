// LongRoPE: a session's room decides between the short and the long factors, for all of its tokens.
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

TEST_CASE("LongRoPE: short factors within the original context, long ones in a session with more room") {
  std::shared_ptr<ModelFile> file = ModelFile::open(data("goldens/phimoe"));
  nlohmann::json& rope = file->metadata["rope_parameters"];  // as in tools/make_longrope_goldens.py
  rope = {{"rope_type", "longrope"}, {"rope_theta", 1000000.0}, {"original_max_position_embeddings", 64},
          {"short_mscale", 1.1},     {"long_mscale", 1.3}};
  for (int i = 0; i < 8; ++i) {
    rope["short_factor"].push_back(1 + i / 8.0);
    rope["long_factor"].push_back(2.0 + i);
  }
  auto spec = std::make_shared<ModelSpec>(read_model_spec(file));
  auto model = place_model(device(), *spec, [](uint64_t, uint64_t) {});
  for (const char* kind : {"short", "long"}) {
    CAPTURE(kind);
    Golden golden(data(cat("goldens/phimoe/golden-", kind, ".safetensors")));
    uint32_t room = kind[0] == 's' ? 64 : 65;
    DeviceSession whole(model, room, 0, false), single(model, room, 0, false);
    ref::RefSession reference(spec, room);
    std::vector<float> prefill = feed(whole, golden.ids, model->hyper.vocab, golden.ids.size());
    CHECK(nmse(prefill, golden.logits) < 1e-9);
    CHECK(feed(single, golden.ids, model->hyper.vocab, 1) == prefill);
    CHECK(nmse(feed(reference, golden.ids, model->hyper.vocab, 48), golden.logits) < 1e-9);
  }
  for (const char* key : {"short_factor", "long_factor"}) {
    nlohmann::json list = rope[key];
    rope[key].erase(7);
    const std::string message = cat(file->path, ": key ", key, " of LongRoPE: expected 8 values, found 7");
    CHECK_THROWS_WITH_AS(read_model_spec(file), message.c_str(), Error);
    rope[key] = list;
  }
  check_no_validation_messages();
}

TEST_CASE("LongRoPE: what a file leaves out is computed as transformers does") {
  std::shared_ptr<ModelFile> file = ModelFile::open(data("goldens/phimoe"));
  file->metadata["rope_parameters"] = nullptr;
  const std::vector<float> factors(8, 1);
  file->metadata["rope_scaling"] = {{"type", "su"}, {"short_factor", factors}, {"long_factor", factors}};
  file->metadata["original_max_position_embeddings"] = 64;  // of 512
  RopeScaling scaling = read_model_spec(file).hyper.rope_scaling;
  CHECK(scaling.original_context == 64);
  CHECK(rope_attention_factor(scaling, 64) == doctest::Approx(std::sqrt(1 + std::log(8) / std::log(64))));
  CHECK(rope_attention_factor(scaling, 65) == rope_attention_factor(scaling, 64));
}
