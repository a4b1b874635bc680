// A token's logits are the same bits alone, inside a batch, in a prefill and in a decode step.
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

TEST_CASE("600 tokens in one pass, in chunks of any size and token by token: the same bits") {
  std::string path = data("goldens/qwen3_moe/config.json");
  std::shared_ptr<ModelFile> file = ModelFile::open(data("goldens/qwen3_moe"));
  file->metadata["max_position_embeddings"] = 1024;
  auto model = place_model(device(), read_model_spec(file), [](uint64_t, uint64_t) {});
  uint32_t vocab = model->hyper.vocab;
  std::vector<int32_t> ids = random_ids(vocab, 600, 7);
  DeviceSession whole(model, 640, 600, false);
  std::vector<float> expected = feed(whole, ids, vocab, ids.size());
  for (uint32_t chunk : {1u, 3u, 8u, 127u}) {
    CAPTURE(chunk);
    DeviceSession session(model, 640, chunk, false);
    CHECK(feed(session, ids, vocab, ids.size()) == expected);
  }
  for (size_t piece : {size_t(1), size_t(2), size_t(31), size_t(599)}) {
    CAPTURE(piece);
    DeviceSession session(model, 640, 0, false);
    CHECK(feed(session, ids, vocab, piece) == expected);
  }
  DeviceSession again(model, 640, 600, false);
  CHECK(feed(again, ids, vocab, ids.size()) == expected);
  check_no_validation_messages();
}

TEST_CASE("rewinding and feeding again gives the same bits; so does sampling after a stop") {
  auto model = place(data("goldens/mixtral"));
  uint32_t vocab = model->hyper.vocab;
  std::vector<int32_t> ids = random_ids(vocab, 40, 3);
  DeviceSession session(model, 64, 0, false);
  std::vector<float> first = feed(session, ids, vocab, 40), last(vocab);
  session.rewind(11);
  std::vector<float> second = feed(session, {ids.begin() + 11, ids.end()}, vocab, 9);
  CHECK(std::equal(second.begin(), second.end(), first.begin() + 11 * vocab));
  session.rewind(20);
  session.logits(last.data());
  CHECK(std::equal(last.begin(), last.end(), first.begin() + 19 * vocab));
  check_no_validation_messages();
}

TEST_CASE("generated tokens equal those sampled one by one, with the same seed") {
  auto model = place(data("goldens/qwen3_moe"));
  std::vector<int32_t> ids = random_ids(model->hyper.vocab, 12, 5);
  SampleRule rule{1.0f, 40, 0.95f, 0.01f, 1.2f, 64, 1234, 5};
  std::vector<int32_t> together, apart;
  DeviceSession a(model, 128, 0, false), b(model, 128, 0, false);
  a.feed(ids.data(), ids.size(), nullptr);
  a.generate(rule, 60, [&](int32_t id) {
    together.push_back(id);
    return false;
  });
  b.feed(ids.data(), ids.size(), nullptr);
  for (int i = 0; i < 60; ++i) {
    apart.push_back(b.sample(rule));
    b.feed(&apart.back(), 1, nullptr);
  }
  CHECK(together == apart);
  CHECK(a.position() == 72);
  check_no_validation_messages();
}
