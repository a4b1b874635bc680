// Encoder-decoder models: transformers' logits all at once, token by token, with other capacities and with padding.
#include "moe/positions.h"
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

constexpr double tolerance = 1e-9;

std::string folder(const std::string& family) { return data("goldens/" + family); }
std::string file(const std::string& family, const char* name) { return folder(family) + "/" + name; }

// A session on the device (or the reference) over a model whose config.json is changed.
std::unique_ptr<Session> open_session(const std::string& family, const nlohmann::json& changes = {},
                                      const Tuning* tuning = nullptr, bool reference = false, uint32_t capacity = 64) {
  std::shared_ptr<ModelFile> model_file = ModelFile::open(folder(family));
  for (const auto& [key, value] : changes.items()) model_file->metadata[key] = value;
  auto spec = std::make_shared<ModelSpec>(read_model_spec(model_file));
  if (reference) return std::make_unique<ref::RefSession>(spec, capacity);
  std::shared_ptr<Model> model = place_model(device(), *spec, [](uint64_t, uint64_t) {});
  return std::make_unique<DeviceSession>(model, capacity, 0, false, tuning ? *tuning : Tuning::of(device()->caps()));
}

std::vector<float> decode(Session& session, const std::vector<int32_t>& ids, const std::vector<int32_t>& decoder, size_t piece) {
  session.encode(ids.data(), ids.size());
  return feed(session, decoder, 512, piece);
}

// Settings under which the goldens' `variant` logits were made (tools/encoder_decoder_goldens.py).
nlohmann::json variant_of(const std::string& family) {
  if (family == "switch_transformers") return {{"expert_capacity", 9}};
  return {{"batch_prioritized_routing", true}, {"normalize_router_prob_before_dropping", true},
          {"moe_eval_capacity_token_fraction", 0.3}};
}

struct Inputs {
  SafetensorsFile golden, more;
  std::vector<int32_t> ids, decoder;
  explicit Inputs(const std::string& family)
      : golden(file(family, "golden.safetensors")), more(file(family, "golden-more.safetensors")),
        ids(golden.ids("input_ids")), decoder(golden.ids("decoder_input_ids")) {}
};

void check_family(const std::string& family, const Tuning* tuning, bool reference) {
  CAPTURE(family);
  CAPTURE(reference);
  Inputs in(family);
  auto session = open_session(family, {}, tuning, reference);
  double error = nmse(decode(*session, in.ids, in.decoder, 24), in.golden.floats("logits"));
  MESSAGE(family, std::string(reference ? " (reference)" : ""), ": normalised mean square error ", error);
  CHECK(error < tolerance);
  CHECK(nmse(decode(*session, in.ids, in.decoder, 1), in.more.floats("steps")) < tolerance);
  CHECK(nmse(decode(*session, in.more.ids("padded_input_ids"), in.more.ids("padded_decoder_input_ids"), 24),
             in.more.floats("padded_logits")) < tolerance);
  auto variant = open_session(family, variant_of(family), tuning, reference);
  CHECK(nmse(decode(*variant, in.ids, in.decoder, 24), in.more.floats("variant")) < tolerance);
}

}  // namespace

TEST_CASE("encoder-decoder: transformers' logits on the device, all at once and token by token") {
  for (const char* family : {"switch_transformers", "nllb_moe"}) check_family(family, nullptr, false);
  check_no_validation_messages();
}

TEST_CASE("encoder-decoder: transformers' logits with the shapes of a GPU") {
  Tuning gpu = gpu_shapes();
  for (const char* family : {"switch_transformers", "nllb_moe"}) check_family(family, &gpu, false);
  check_no_validation_messages();
}

TEST_CASE("encoder-decoder: transformers' logits by the reference") {
  for (const char* family : {"switch_transformers", "nllb_moe"}) check_family(family, nullptr, true);
}

TEST_CASE("switch_transformers: without tied embeddings each stack has its own, and logits are not scaled") {
  Inputs in("switch_transformers");
  std::shared_ptr<ModelFile> model = ModelFile::open(file("switch_transformers", ""));
  model->metadata["tie_word_embeddings"] = false;
  Tensor& shared = model->tensors["shared.weight"];
  const std::vector<float> embedding = vector_values(shared), nothing(embedding.size());
  std::vector<float> head = embedding;
  for (float& v : head) v *= 0.125f;  // 64^-1/2
  for (const char* name : {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}) {
    Tensor own = shared;
    own.data = reinterpret_cast<const uint8_t*>((name[0] == 'l' ? head : embedding).data());
    model->tensors[name] = own;
  }
  shared.data = reinterpret_cast<const uint8_t*>(nothing.data());
  auto spec = std::make_shared<ModelSpec>(read_model_spec(model));
  DeviceSession session(place_model(device(), *spec, [](uint64_t, uint64_t) {}), 64, 0, false);
  ref::RefSession reference(spec, 64);
  CHECK(nmse(decode(session, in.ids, in.decoder, 24), in.golden.floats("logits")) < tolerance);
  CHECK(nmse(decode(reference, in.ids, in.decoder, 24), in.golden.floats("logits")) < tolerance);
  check_no_validation_messages();
}

TEST_CASE("nllb_moe: a file of transformers 4 sends tokens to the experts that they chose") {
  Inputs in("nllb_moe");
  SafetensorsFile four(file("nllb_moe", "golden-transformers4.safetensors"));
  nlohmann::json changes = variant_of("nllb_moe");
  changes["transformers_version"] = "4.57.1";
  auto steps = open_session("nllb_moe", {{"transformers_version", "4.57.1"}}), variant = open_session("nllb_moe", changes);
  CHECK(nmse(decode(*steps, in.ids, in.decoder, 1), four.floats("steps")) < tolerance);
  CHECK(nmse(decode(*variant, in.ids, in.decoder, 24), four.floats("variant")) < tolerance);
  check_no_validation_messages();
}

TEST_CASE("encoder-decoder: generated tokens are transformers', and another input starts anew") {
  for (const char* family : {"switch_transformers", "nllb_moe"}) {
    CAPTURE(family);
    Inputs in(family);
    auto session = open_session(family);
    std::vector<int32_t> other(in.ids.begin() + 7, in.ids.begin() + 40), made;
    decode(*session, other, in.decoder, 5);
    session->encode(in.ids.data(), in.ids.size());
    CHECK(session->position() == 0);
    session->feed(&in.decoder[0], 1, nullptr);
    session->generate(SampleRule{0, 0, 1, 0, 1, 0, 0, 0}, 24, [&](int32_t id) {
      made.push_back(id);
      return false;
    });
    CHECK(made == in.more.ids("greedy"));
  }
  check_no_validation_messages();
}

TEST_CASE("encoder-decoder: a long input and one of a single token agree with the reference") {
  for (const char* family : {"switch_transformers", "nllb_moe"}) {
    for (size_t n : {size_t(300), size_t(1)}) {
      CAPTURE(family);
      CAPTURE(n);
      Tuning gpu = gpu_shapes();
      auto session = open_session(family, {}, &gpu, false, 320), plain = open_session(family, {}, nullptr, true, 320);
      std::vector<int32_t> ids = random_ids(512, n, 11), decoder = random_ids(512, 150, 12);
      // Two float32 computations; a token whose two best experts are within rounding could part them, but these do not.
      CHECK(nmse(decode(*session, ids, decoder, 149), decode(*plain, ids, decoder, 149)) < tolerance);
    }
  }
  check_no_validation_messages();
}

TEST_CASE("T5's buckets of distances are transformers'") {
  // _relative_position_bucket of distances, bidirectional and not, for 32 buckets up to 128.
  int distances[] = {-200, -128, -64, -16, -8, -7, 0, 1, 7, 8, 15, 16, 23, 32, 64, 127, 128, 200};
  uint32_t both[] = {15, 15, 14, 10, 8, 7, 0, 17, 23, 24, 25, 26, 27, 28, 30, 31, 31, 31};
  uint32_t back[] = {31, 31, 26, 16, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  for (size_t i = 0; i < std::size(distances); ++i) {
    CHECK(position_bucket(distances[i], true, 32, 128) == both[i]);
    CHECK(position_bucket(distances[i], false, 32, 128) == back[i]);
  }
}

TEST_CASE("encoder-decoder: what cannot be done is refused") {
  auto message = [](auto&& body) -> std::string {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  auto session = open_session("switch_transformers");
  int32_t id = 0;
  std::vector<int32_t> many(65, 5);
  CHECK(message([&] { session->feed(&id, 1, nullptr); }).find("before its input is encoded") != std::string::npos);
  CHECK(message([&] { session->encode(many.data(), many.size()); }).find("room for 64") != std::string::npos);
  CHECK(message([&] { session->encode(many.data(), 0); }).find("empty") != std::string::npos);
  many[3] = 512;
  CHECK(message([&] { session->encode(many.data(), 10); }).find("token 3 has id 512") != std::string::npos);
  struct Near {
    const char *family, *key;
    nlohmann::json value;
  };
  for (const Near& near : std::vector<Near>{{"switch_transformers", "dense_act_fn", "gated-gelu"},
                                           {"switch_transformers", "expert_capacity", 0},
                                           {"switch_transformers", "decoder_start_token_id", 600},
                                           {"switch_transformers", "relative_attention_num_buckets", 2},
                                           {"nllb_moe", "activation_function", "tanh"},
                                           {"nllb_moe", "second_expert_policy", "sampling"},
                                           {"nllb_moe", "moe_eval_capacity_token_fraction", 1.5},
                                           {"nllb_moe", "decoder_attention_heads", 5},
                                           {"nllb_moe", "num_experts", 1}}) {
    CAPTURE(near.key);
    std::shared_ptr<ModelFile> model_file = ModelFile::open(folder(near.family));
    model_file->metadata[near.key] = near.value;
    model_file->generation_config = nullptr;
    std::string said = message([&] { read_model_spec(model_file); });
    CHECK(said.find(near.family) != std::string::npos);
    bool names_it = said.find(near.key) != std::string::npos || said.find(near.value.dump()) != std::string::npos;
    CHECK_MESSAGE(names_it, said);
  }
}
