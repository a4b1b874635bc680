// Weights in F8_E4M3 whose scales lie apart, as DeepSeek-V3 ships them: the same logits as those of the decoded values.
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

// The default model with random FP8 weights, and the same values as F32.
struct Fp8Model {
  std::shared_ptr<ModelFile> fp8 = ModelFile::open(VKMOE_SOURCE_DIR "/models/vkmoe-default.gguf");
  std::shared_ptr<ModelFile> f32 = ModelFile::open(VKMOE_SOURCE_DIR "/models/vkmoe-default.gguf");
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<std::vector<float>> values;
  int matrices = 0;

  explicit Fp8Model(uint64_t row_block) {
    const Format* format = find_format("F8_E4M3");
    std::mt19937 random(5);
    for (auto& [name, tensor] : fp8->tensors) {
      if (tensor.shape.size() < 2 || tensor.shape.back() % 128 || name.find("inp") != std::string::npos) continue;
      uint64_t k = tensor.shape.back(), rows = tensor.elems() / k, n = tensor.shape[tensor.shape.size() - 2];
      auto scales = std::make_shared<TensorScales>();
      scales->row_block = row_block;
      scales->column_block = 128;
      scales->values.resize(rows / n * ((n + row_block - 1) / row_block) * (k / 128));
      for (float& scale : scales->values) scale = float(1 + random() % 100) * 2e-6f;
      bytes.emplace_back(tensor.elems());
      for (uint8_t& byte : bytes.back()) byte = uint8_t(random() % 0x7f | (random() & 0x80));
      tensor.format = format;
      tensor.data = bytes.back().data();
      tensor.size_bytes = bytes.back().size();
      tensor.scales = scales;
      values.emplace_back(tensor.elems());
      std::vector<uint8_t> scratch;
      for (uint64_t r = 0; r < rows; r++) decode_row(*format, tensor.row(r, scratch), 0, k, &values.back()[r * k]);
      uint64_t at = (rows - 1) * k + k - 1;  // the last value by hand: its scale is the last one
      float last = values.back()[at] / scales->values.back();
      CHECK(std::abs(last) <= 448);
      f32->tensors[name] = {name, find_format("F32"), tensor.shape,
                            reinterpret_cast<const uint8_t*>(values.back().data()), values.back().size() * 4};
      matrices++;
    }
  }
};

}  // namespace

TEST_CASE("device: FP8 with scales of blocks or rows gives the logits of its values as F32") {
  for (uint64_t row_block : {128, 1}) {
    CAPTURE(row_block);
    Fp8Model made(row_block);
    CHECK(made.matrices > 40);
    auto fp8 = std::make_shared<ModelSpec>(read_model_spec(made.fp8)), f32 = std::make_shared<ModelSpec>(read_model_spec(made.f32));
    std::vector<int32_t> ids = random_ids(fp8->hyper.vocab, 3, 1);
    std::vector<float> logits[2];
    for (int i = 0; i < 2; i++) {
      auto model = place_model(device(), i ? *f32 : *fp8, [](uint64_t, uint64_t) {});
      DeviceSession session(model, 16, 0, false);
      logits[i] = feed(session, ids, fp8->hyper.vocab, ids.size());
    }
    CHECK(std::memcmp(logits[0].data(), logits[1].data(), logits[0].size() * 4) == 0);
    ref::RefSession reference(fp8, 16);
    CHECK(nmse(logits[0], feed(reference, ids, fp8->hyper.vocab, ids.size())) < 1e-9);
  }
  check_no_validation_messages();
}
