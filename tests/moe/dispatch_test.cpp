// What decoding costs besides time: dispatches of a layer, whatever the device.
#include "support.h"

#include "moe/weights.h"

using namespace vkmoe;
using namespace vkmoe::test;

TEST_CASE("decoding takes at most eight dispatches a layer of Mixtral's kind, with the same logits as kernels apart") {
  std::shared_ptr<Model> model = place(data("goldens/mixtral"));
  Golden golden(data("goldens/mixtral/golden.safetensors"));
  for (const Tuning& tuning : {Tuning::gpu(device()->caps()), Tuning::cpu(device()->caps())}) {
    CAPTURE(tuning.share_keys);
    DeviceSession session(model, 64, 0, false, tuning);
    session.feed(golden.ids.data(), golden.ids.size(), nullptr);
    session.generate({}, 2, [](int32_t) { return false; });
    // Around the layers: sample, begin_step, embed, the first layer's norm, the last norm, and the head.
    uint64_t dispatches = session.stats()["dispatches_per_decode_step"];
    CHECK(dispatches <= 8 * model->hyper.n_layers + 6);

    Tuning apart = tuning;
    apart.fused_router_bytes = 0;
    DeviceSession unfused(model, 64, 0, false, apart);
    unfused.feed(golden.ids.data(), golden.ids.size(), nullptr);
    unfused.generate({}, 2, [](int32_t) { return false; });
    CHECK(unfused.stats()["dispatches_per_decode_step"] == dispatches + 2 * model->hyper.n_layers);
    for (size_t piece : {1, 2, 3}) {
      session.rewind(0);
      unfused.rewind(0);
      std::vector<float> fused_logits = feed(session, golden.ids, model->hyper.vocab, piece);
      CHECK(fused_logits == feed(unfused, golden.ids, model->hyper.vocab, piece));
    }
  }
  check_no_validation_messages();
}

namespace {

uint64_t decode_dispatches(std::shared_ptr<Model> model, const std::vector<int32_t>& ids) {
  DeviceSession session(model, 64, 0, false, Tuning::gpu(device()->caps()));
  session.feed(ids.data(), ids.size(), nullptr);
  session.generate({}, 2, [](int32_t) { return false; });
  return session.stats()["dispatches_per_decode_step"];
}

}  // namespace

TEST_CASE("a shared expert that lies in the file as the others do takes no dispatches of its own; otherwise the logits are the same") {
  struct Family {
    const char* name;
    uint32_t pieces;
    uint64_t apart_more;  // dispatches of a layer
  };
  for (auto [name, pieces, apart_more] : {Family{"qwen2_moe", 2, 5}, {"dots1", 2, 2}, {"glm4_moe", 1, 2}}) {
    CAPTURE(name);
    std::shared_ptr<ModelSpec> spec = read_spec(data(std::string("goldens/") + name));
    Golden golden(data(std::string("goldens/") + name + "/golden.safetensors"));
    std::shared_ptr<Model> together = place_model(device(), *spec, [](uint64_t, uint64_t) {});
    // Its last matrix column by column.
    std::vector<std::vector<float>> turned;
    std::vector<Tensor> tensors(spec->layers.size());
    uint64_t n_layers = 0;
    for (size_t i = 0; i < spec->layers.size(); ++i) {
      Matrix& down = spec->layers[i].shared_down;
      if (!down) continue;
      std::vector<float> values = vector_values(*down.experts[0][0].tensor);
      turned.emplace_back(values.size());
      for (size_t at = 0; at < values.size(); ++at) turned.back()[at % down.k * down.n + at / down.k] = values[at];
      tensors[i] = {"turned", find_format("F32"), {down.k, down.n}, reinterpret_cast<const uint8_t*>(turned.back().data()), values.size() * 4};
      down.experts[0][0] = {&tensors[i], 0, down.n, 1, down.n};
      CHECK(together->layers[i].n_shared == pieces);
      CHECK(together->layers[i].shared_down.shards.empty());
      ++n_layers;
    }
    REQUIRE(n_layers > 0);
    std::shared_ptr<Model> apart = place_model(device(), *spec, [](uint64_t, uint64_t) {});
    CHECK(apart->layers.back().n_shared == 0);
    CHECK(decode_dispatches(apart, golden.ids) == decode_dispatches(together, golden.ids) + apart_more * n_layers);
    for (const std::shared_ptr<Model>& model : {together, apart}) {
      DeviceSession session(model, 64, 0, false);
      for (size_t piece : {golden.ids.size(), size_t(1)}) {
        session.rewind(0);
        CHECK(nmse(feed(session, golden.ids, model->hyper.vocab, piece), golden.logits) < 1e-9);
      }
    }
  }
  check_no_validation_messages();
}
