// Keys and values kept as fp16: what it does to logits, that bits stay the same however a prompt is cut, and memory.
#include <algorithm>

#include "moe/activations.h"
#include "support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

Tuning half_cache() {
  Tuning tuning = gpu_shapes();
  tuning.half_cache = true;
  return tuning;
}

}  // namespace

TEST_CASE("a cache of fp16: logits near those of transformers, the same bits in one pass and token by token") {
  // Grouped heads, a norm of heads, windows and sinks, latents, an interleaved rotation with a norm after it.
  for (const char* name : {"mixtral", "qwen3_moe", "gpt_oss", "deepseek_v3", "llama4", "hunyuan_v1_moe"}) {
    CAPTURE(name);
    std::shared_ptr<Model> model = place(data(std::string("goldens/") + name));
    Golden golden(data(std::string("goldens/") + name + "/golden.safetensors"));
    const Hyper& h = model->hyper;
    DeviceSession session(model, 64, 0, false, half_cache());
    std::vector<float> logits = feed(session, golden.ids, h.vocab, golden.ids.size());
    // Every key and value is off by 2^-11 of itself at most, so what a layer's attention gives is off by about as much for
    // each, and the residual stream, in which layers add up, by no more than that for each layer. That is held of half of the
    // tokens: one whose two best experts are nearly equal may choose the other, and those after it see that.
    std::vector<double> errors;
    for (size_t at = 0; at < logits.size(); at += h.vocab)
      errors.push_back(nmse({&logits[at], &logits[at] + h.vocab}, {&golden.logits[at], &golden.logits[at] + h.vocab}));
    std::sort(errors.begin(), errors.end());
    double error = errors[errors.size() / 2], relative = 2 * h.n_layers * 0x1p-11;
    MESSAGE(std::string(name), ": normalised mean square error ", error, ", at most ", relative * relative);
    CHECK(error < relative * relative);
    CHECK(error > 1e-10);  // it is in use
    for (size_t piece : {1, 3}) {
      session.rewind(0);
      CHECK(feed(session, golden.ids, h.vocab, piece) == logits);
    }
    CHECK(session.stats()["kv_cache"]["type"] == "fp16");
    CHECK(session.stats()["kv_cache"]["bytes"] == kv_cache_bytes(h, 64, true));
    DeviceSession plain(model, 64, 0, false, gpu_shapes());
    CHECK(plain.stats()["kv_cache"]["type"] == "float32");
    CHECK(plain.stats()["kv_cache"]["bytes"] == 2 * kv_cache_bytes(h, 64, true));
  }
  check_no_validation_messages();
}

TEST_CASE("--exact keeps keys and values as float32, whatever the device") {
  std::shared_ptr<Model> model = place(data("goldens/mixtral"));
  DeviceSession exact(model, 64, 0, false, true), chosen(model, 64, 0, false);
  CHECK(exact.stats()["kv_cache"]["type"] == "float32");
  CHECK(chosen.stats()["kv_cache"]["type"] == (Tuning::of(device()->caps()).half_cache ? "fp16" : "float32"));
}
