// What decoding costs besides time: dispatches of a layer, whatever the device.
#include "support.h"

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
