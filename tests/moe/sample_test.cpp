// Sampling on the device against sorting on the CPU.
#include <numeric>

#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

// Runs sample.comp once at a position with these latest tokens.
int32_t device_sample(const SampleRule& rule, const std::vector<float>& logits, const std::vector<int32_t>& recent, uint32_t position) {
  Device& d = *device();
  auto make = [&](const void* bytes, size_t size) {
    Buffer b = d.create_buffer(size, MemoryUse::device, "sample test");
    if (bytes) d.upload(b, 0, bytes, size);
    return b;
  };
  std::vector<uint32_t> history(HISTORY, 0xffffffffu);
  for (size_t i = 0; i < recent.size(); ++i) history[(position - recent.size() + i) % HISTORY] = uint32_t(recent[i]);
  Step step = {0, position, 0, 0};
  SampleBuffers b{make(&rule, sizeof(rule)), make(logits.data(), logits.size() * 4), make(nullptr, logits.size() * 4),
                  make(&step, sizeof(step)), make(history.data(), HISTORY * 4), make(nullptr, 16),
                  d.create_buffer(SAMPLE_RING * 4, MemoryUse::readback, "ring")};
  Tuning tuning = Tuning::of(d.caps());
  Recording recording(d, "sample test");
  Recorder recorder{d, recording, tuning};
  sample(recorder, b, uint32_t(logits.size()));
  recording.end();
  d.wait(d.submit({&recording}));
  uint32_t id;
  d.read_back(b.tokens.buffer, 0, &id, 4);
  CHECK(static_cast<const uint32_t*>(b.ring.buffer.mapped())[0] == id);
  return int32_t(id);
}

std::vector<float> random_logits(size_t n, uint32_t seed, bool coarse) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(n);
  for (float& v : logits) v = coarse ? std::round(normal(random)) : normal(random);
  return logits;
}

}  // namespace

TEST_CASE("philox: known answers of the authors' Random123") {
  CHECK(ref::philox(0, 0, 0) == 0x6627e8d5u);
}

TEST_CASE("greedy: the largest logit, the lower id of a tie, the penalty before") {
  std::vector<float> logits = {1, 5, 5, -2, 4.9f, 5};
  CHECK(device_sample({0, 0, 1, 0, 1, 0, 0, 0}, logits, {}, 3) == 1);
  CHECK(device_sample({0, 0, 1, 0, 2, 2, 0, 0}, logits, {1, 1}, 3) == 2);
  CHECK(device_sample({0, 0, 1, 0, 2, 3, 0, 0}, logits, {5, 2, 1}, 3) == 4);
  CHECK(device_sample({0, 0, 1, 0, 2, 1, 0, 0}, logits, {1, 2, 5}, 3) == 1);
  check_no_validation_messages();
}

TEST_CASE("draws equal the reference's, for all rules") {
  for (size_t vocab : {size_t(1), size_t(7), size_t(513), size_t(5000)}) {
    for (bool coarse : {false, true}) {
      std::vector<float> logits = random_logits(vocab, uint32_t(vocab), coarse);
      for (SampleRule rule : {SampleRule{1, 0, 1, 0, 1, 0, 1, 0}, {0.7f, 40, 1, 0, 1, 0, 2, 0}, {1, 0, 0.9f, 0, 1, 0, 3, 0},
                              {1.3f, 20, 0.8f, 0.05f, 1.1f, 8, 4, 9}, {1, 1, 1, 0, 1, 0, 5, 0}, {2, 3, 0.5f, 0, 1, 0, 6, 0}}) {
        for (uint32_t position : {8u, 9u, 700u}) {
          std::vector<int32_t> recent = random_ids(uint32_t(vocab), 8, position);
          int32_t got = device_sample(rule, logits, recent, position);
          // The device's exp may be off by 3 + 2|x| units in the last place (Vulkan), |x| < 40 here for any weight that
          // is not 0: each boundary between tokens may lie off by that share of the whole, and no more.
          std::vector<uint64_t> weights = ref::sample_weights(rule, logits, recent);
          double off = 2.0 * (3 + 2 * 40) * 0x1p-24 * 0x1p32;
          double fraction = ref::philox(position, rule.seed_low, rule.seed_high);
          int32_t low = ref::draw(weights, uint32_t(std::max(fraction - off, 0.0)));
          int32_t high = ref::draw(weights, uint32_t(std::min(fraction + off, 0x1p32 - 1)));
          CAPTURE(vocab);
          CAPTURE(coarse);
          CAPTURE(position);
          CAPTURE(rule.seed_low);
          CHECK(got >= low);
          CHECK(got <= high);
          CHECK(weights[got] > 0);
        }
      }
    }
  }
  check_no_validation_messages();
}
