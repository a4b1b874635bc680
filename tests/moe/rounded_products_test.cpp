// Passes of many tokens whose products are those of integers or of fp16 (matmul_int8.comp, matmul_coopmat.comp): the default
// model stays as good.
#include <algorithm>

#include "loader/tokenizer.h"
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

constexpr uint32_t n_tokens = 200, chunk = 100;

// Mean negative logarithm of the probability of each token after the first.
double mean_loss(const std::vector<float>& logits, const std::vector<int32_t>& ids, uint32_t vocab) {
  double loss = 0;
  for (size_t i = 1; i < ids.size(); ++i) {
    const float* row = &logits[(i - 1) * vocab];
    double most = *std::max_element(row, row + vocab), sum = 0;
    for (uint32_t v = 0; v < vocab; ++v) sum += std::exp(row[v] - most);
    loss += most + std::log(sum) - row[ids[i]];
  }
  return loss / double(ids.size() - 1);
}

}  // namespace

TEST_CASE("device: products of integers and of fp16 keep the default model's perplexity within one percent, and repeat") {
  const Caps& caps = device()->caps();
  std::vector<Products> kinds;
  if (caps.integer_dot) kinds.push_back(Products::int8);
  if (caps.cooperative_matrix.m) kinds.push_back(Products::fp16);
  if (kinds.empty()) return;
  std::string path = VKMOE_SOURCE_DIR "/models/vkmoe-default.gguf";
  auto file = ModelFile::open(path);
  std::string text = read_file(data("eval-python.txt"));
  std::vector<int32_t> ids = Tokenizer::load(*file)->encode(text.substr(0, 4 * n_tokens), false);
  REQUIRE(ids.size() >= n_tokens);
  ids.resize(n_tokens);
  auto model = place(path);
  uint32_t vocab = model->hyper.vocab;
  Tuning tuning = gpu_shapes();
  std::vector<float> want;
  {
    DeviceSession session(model, 256, chunk, false, tuning);
    want = feed(session, ids, vocab, n_tokens);
  }
  for (Products kind : kinds) {
    tuning.products = kind;
    bool int8 = kind == Products::int8;
    std::vector<float> got;
    for (int run = 0; run < 2; ++run) {
      DeviceSession session(model, 256, chunk, run == 0, tuning);
      std::vector<float> logits = feed(session, ids, vocab, n_tokens);
      if (run == 0) got = logits;
      CHECK(logits == got);
      if (run > 0) continue;
      uint64_t products = 0, roundings = 0;
      nlohmann::json stats = session.stats();
      for (const auto& kernel : stats["kernels"]) {
        std::string name = kernel["name"];
        uint64_t dispatches = kernel["dispatches"];
        if (name.rfind(int8 ? "matmul_int8" : "matmul_coopmat", 0) == 0) products += dispatches;
        if (name.rfind(int8 ? "quantize_rows" : "half_rows", 0) == 0) roundings += dispatches;
      }
      // Two passes; in each layer QKV, output, gate-up and down.
      CHECK(products == 2 * 4 * model->hyper.n_layers);
      CHECK(roundings == products);
    }
    double before = mean_loss(want, ids, vocab), after = mean_loss(got, ids, vocab);
    CHECK(got != want);
    CHECK(std::abs(std::exp(after - before) - 1) < 0.01);
    MESSAGE("perplexity ", std::exp(before), ", with products of ", std::string(products_name(kind)), " ", std::exp(after),
            ", NMSE of logits ", nmse(got, want));
  }
  check_no_validation_messages();
}
