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

TEST_CASE("the shared expert is cut between blocks, and left apart where a piece would begin within one") {
  const Format* q8 = find_format("Q8_0");
  std::mt19937 random(7);
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<std::unique_ptr<Tensor>> tensors;
  auto matrix = [&](uint32_t n_experts, uint32_t n, uint32_t k) {
    std::vector<uint8_t>& data = bytes.emplace_back(n_experts * n * row_bytes(*q8, k));
    for (uint8_t& byte : data) byte = uint8_t(random());
    for (size_t at = 0; at < data.size(); at += q8->block_bytes) data[at + 1] = 0x3c;  // of the scale: about 1
    tensors.push_back(std::make_unique<Tensor>(Tensor{"random", q8, {n_experts * n, k}, data.data(), data.size()}));
    Matrix made{n, k, {}, {}};
    for (uint32_t e = 0; e < n_experts; ++e) made.experts.push_back({{tensors.back().get(), e * n, n, 1}});
    return made;
  };
  for (auto [ff, pieces] : {std::pair(64u, 3u), {96u, 2u}, {48u, 0u}, {160u, 1u}}) {
    CAPTURE(ff);
    Hyper h;
    h.expert_ff = ff;
    h.shared_ff = ff == 48 ? 144 : ff * pieces;
    LayerSpec spec;
    spec.router = matrix(1, 4, 32);
    spec.gate = matrix(4, ff, 32), spec.up = matrix(4, ff, 32), spec.down = matrix(4, 32, ff);
    spec.shared_gate = matrix(1, h.shared_ff, 32), spec.shared_up = matrix(1, h.shared_ff, 32), spec.shared_down = matrix(1, 32, h.shared_ff);
    LayerExperts experts = layer_experts(h, spec);
    REQUIRE(experts.n_shared == pieces);
    REQUIRE(experts.down.experts.size() == 4 + pieces);
    for (uint32_t piece = 0; piece < pieces; ++piece) {
      auto values = [&](const Matrix& from, uint32_t expert, uint32_t row, uint32_t first, uint32_t count) {
        const Format* format;
        std::vector<uint8_t> scratch;
        std::vector<float> decoded(count);
        const uint8_t* at = from.row(expert, row, &format, scratch);
        decode_row(*format, at, first, count, decoded.data());
        return decoded;
      };
      for (uint32_t r = 0; r < 32; ++r)
        CHECK(values(experts.down, 4 + piece, r, 0, ff) == values(spec.shared_down, 0, r, piece * ff, ff));
      for (uint32_t r = 0; r < ff; ++r) {
        CHECK(values(experts.gate, 4 + piece, r, 0, 32) == values(spec.shared_gate, 0, piece * ff + r, 0, 32));
        CHECK(values(experts.up, 4 + piece, r, 0, 32) == values(spec.shared_up, 0, piece * ff + r, 0, 32));
      }
    }
  }
}
