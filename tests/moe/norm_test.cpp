// Norms of the residual stream on the device against the reference.
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

struct Case {
  uint32_t rows, width;
  bool bias;
};

// Runs a norm over all rows but the first of x and returns y, which held `before`.
std::vector<float> run_norm(uint32_t kind, const Case& c, const std::vector<float>& x, const std::vector<float>& weights,
                            const std::vector<float>& before, const Tuning& tuning) {
  uint32_t stride = row_stride(c.width);
  auto make = [&](const std::vector<float>& values, const char* name) { return place_vector(*device(), values, name); };
  Buffer from = make(x, "x"), weight = make(weights, "weights"), to = make(before, "y");
  Recording recording(*device(), "norm");
  Recorder r{*device(), recording, tuning};
  if (kind == NORM_LAYER) layernorm(r, {from, stride}, weight, {to, stride}, c.rows - 1, 1, c.width, 1e-5f);
  else rmsnorm(r, {from, stride}, weight, {to, stride}, c.rows - 1, 1, c.width, 1e-5f, true);
  recording.end();
  device()->wait(device()->submit({&recording}));
  std::vector<float> y(before.size());
  device()->read_back(to, 0, y.data(), y.size() * 4);
  return y;
}

}  // namespace

TEST_CASE("layernorm and rmsnorm that adds: device against reference, padding left alone") {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(3, 1);  // a mean that must not cost digits
  for (const Case& c : {Case{2, 4, true}, {4, 96, false}, {3, 100, true}, {2, 4096, true}, {2, 33, false}}) {
    for (const Tuning& tuning : {Tuning::cpu(device()->caps()), Tuning::gpu(device()->caps())}) {
      CAPTURE(c.width);
      uint32_t stride = row_stride(c.width);
      std::vector<float> x(size_t(c.rows) * stride), before(x.size(), 0.5f), weight(c.width), bias(c.width);
      for (std::vector<float>* v : {&x, &weight, &bias})
        for (float& f : *v) f = normal(random);
      if (!c.bias) bias.assign(c.width, 0.0f);
      std::vector<float> both = weight;
      both.insert(both.end(), bias.begin(), bias.end());
      std::vector<float> layer = run_norm(NORM_LAYER, c, x, both, before, tuning);
      std::vector<float> rms = run_norm(NORM_RMS, c, x, weight, before, tuning);
      for (uint32_t row = 0; row + 1 < c.rows; ++row) {
        const float* from = &x[size_t(row + 1) * stride];
        std::vector<float> want_layer = ref::layernorm(from, weight, c.bias ? bias : std::vector<float>{}, 1e-5f);
        std::vector<float> want_rms = ref::rmsnorm(from, weight, 1e-5f);
        // Means and squares are sums of width / lanes values in a row, then a tree: the error of each is below
        // width units in the last place of sums of size |x| <= 8; the rest are a few operations.
        float bound = 0x1p-23f * float(c.width + 16) * 8 * 8;
        for (uint32_t i = 0; i < stride; ++i) {
          CAPTURE(i);
          float got_layer = layer[row * stride + i], got_rms = rms[row * stride + i];
          if (i >= c.width) CHECK((got_layer == 0.5f && got_rms == 0.5f));
          else CHECK((std::abs(got_layer - want_layer[i]) <= bound && std::abs(got_rms - 0.5f - want_rms[i]) <= bound));
        }
      }
    }
  }
  check_no_validation_messages();
}

TEST_CASE("bounded queries, keys and values, and soft-capped scores: device against reference") {
  std::shared_ptr<ModelFile> file = ModelFile::open(data("goldens/mixtral"));
  auto spec = std::make_shared<ModelSpec>(read_model_spec(file));
  std::vector<int32_t> ids = random_ids(spec->hyper.vocab, 80, 4);
  ref::RefSession plain(spec, 80);
  std::vector<float> without = feed(plain, ids, spec->hyper.vocab, 80);
  spec->hyper.qkv_clip = 0.5f;
  spec->hyper.attention_softcap = 0.1f;  // far below many scores, near to others
  spec->hyper.attention_scale = 4;
  ref::RefSession reference(spec, 80);
  std::vector<float> want = feed(reference, ids, spec->hyper.vocab, 80);
  CHECK(nmse(without, want) > 1e-4);  // they matter
  auto model = place_model(device(), *spec, [](uint64_t, uint64_t) {});
  DeviceSession cpu(model, 80, 0, false, Tuning::cpu(device()->caps())), gpu(model, 80, 0, false, gpu_shapes());
  std::vector<float> got = feed(cpu, ids, spec->hyper.vocab, 80);
  CHECK(nmse(got, want) < 1e-10);
  CHECK(nmse(feed(gpu, ids, spec->hyper.vocab, 1), want) < 1e-10);
  check_no_validation_messages();
}
