// Whole models against transformers' logits, on the device and on the CPU reference.
#include "moe/arch/arch.h"
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

// transformers' float32 and float64 agree within 3e-11; a larger error than this is a wrong formula.
constexpr double tolerance = 1e-9;

struct Case {
  const char* model;
  const char* golden;
};
const Case cases[] = {
    {"goldens/granitemoe", "goldens/granitemoe/golden.safetensors"},
    {"goldens/granitemoe/model-f32.gguf", "goldens/granitemoe/golden.safetensors"},
    {"goldens/deepseek_v2", "goldens/deepseek_v2/golden.safetensors"},
    {"goldens/deepseek_v2/model-f32.gguf", "goldens/deepseek_v2/golden.safetensors"},
    {"goldens/deepseek_v2_lite", "goldens/deepseek_v2_lite/golden.safetensors"},
    {"goldens/deepseek_v3", "goldens/deepseek_v3/golden.safetensors"},
    {"goldens/deepseek_v3/model-f32.gguf", "goldens/deepseek_v3/golden.safetensors"},
    {"goldens/dots1", "goldens/dots1/golden.safetensors"},
    {"goldens/dots1/model-f32.gguf", "goldens/dots1/golden.safetensors"},
    {"goldens/dbrx", "goldens/dbrx/golden.safetensors"},
    {"goldens/dbrx/model-f32.gguf", "goldens/dbrx/golden.safetensors"},
    {"goldens/grok", "goldens/grok/golden.safetensors"},
    {"goldens/grok/model-f32.gguf", "goldens/grok/golden.safetensors"},
    {"goldens/phimoe", "goldens/phimoe/golden.safetensors"},
    {"goldens/phimoe/model-f32.gguf", "goldens/phimoe/golden.safetensors"},
    {"goldens/ernie4_5_moe", "goldens/ernie4_5_moe/golden.safetensors"},
    {"goldens/ernie4_5_moe/model-f32.gguf", "goldens/ernie4_5_moe/golden.safetensors"},
    {"goldens/glm4_moe", "goldens/glm4_moe/golden.safetensors"},
    {"goldens/glm4_moe/model-f32.gguf", "goldens/glm4_moe/golden.safetensors"},
    {"goldens/gpt_oss", "goldens/gpt_oss/golden.safetensors"},
    {"goldens/gpt_oss_mxfp4", "goldens/gpt_oss_mxfp4/golden.safetensors"},
    {"goldens/gpt_oss_mxfp4/model-mxfp4.gguf", "goldens/gpt_oss_mxfp4/golden.safetensors"},
    {"goldens/granitemoeshared", "goldens/granitemoeshared/golden.safetensors"},
    {"goldens/granitemoeshared/model-f32.gguf", "goldens/granitemoeshared/golden.safetensors"},
    {"goldens/hunyuan_v1_moe", "goldens/hunyuan_v1_moe/golden.safetensors"},
    {"goldens/hunyuan_v1_moe/model-f32.gguf", "goldens/hunyuan_v1_moe/golden.safetensors"},
    {"goldens/llama4", "goldens/llama4/golden.safetensors"},
    {"goldens/llama4_published", "goldens/llama4_published/golden.safetensors"},
    {"goldens/llama4_published/model-f32.gguf", "goldens/llama4_published/golden.safetensors"},
    {"goldens/minimax_m2", "goldens/minimax_m2/golden.safetensors"},
    {"goldens/minimax_m2/model-f32.gguf", "goldens/minimax_m2/golden.safetensors"},
    {"goldens/olmoe", "goldens/olmoe/golden.safetensors"},
    {"goldens/olmoe/model-f32.gguf", "goldens/olmoe/golden.safetensors"},
    {"goldens/qwen2_moe", "goldens/qwen2_moe/golden.safetensors"},
    {"goldens/qwen2_moe/model-f32.gguf", "goldens/qwen2_moe/golden.safetensors"},
    {"goldens/mixtral", "goldens/mixtral/golden.safetensors"},
    {"goldens/mixtral/model-f32.gguf", "goldens/mixtral/golden.safetensors"},
    {"goldens/mixtral/model-q4_0.gguf", "goldens/mixtral/golden-q4_0.safetensors"},
    {"goldens/qwen3_moe", "goldens/qwen3_moe/golden.safetensors"},
    {"goldens/qwen3_moe/model-q8_0.gguf", "goldens/qwen3_moe/golden-q8_0.safetensors"},
    {"goldens/qwen3_moe/model-bf16.gguf", "goldens/qwen3_moe/golden-bf16.safetensors"},
};

}  // namespace

TEST_CASE("the forms in which each family is said to be tried are those of this test") {
  std::map<std::string, std::set<std::string>> tried;
  for (const Case& c : cases)
    tried[read_spec(data(c.model))->hyper.architecture].insert(std::string(c.model).ends_with(".gguf") ? "GGUF" : "safetensors");
  for (const Architecture* a : architectures()) {
    CAPTURE(a->name);
    if (a->encoder) tried[a->name].insert("safetensors");  // encoder_decoder_test.cpp
    std::string forms = tried[a->name].count("safetensors") ? "safetensors" : "";
    if (tried[a->name].count("GGUF")) forms += forms.empty() ? "GGUF" : ", GGUF";
    CHECK(forms == a->tried_as);
  }
}

TEST_CASE("device: logits of the goldens, prefill and token by token") {
  for (const Case& c : cases) {
    CAPTURE(c.model);
    Golden golden(data(c.golden));
    std::shared_ptr<Model> model = place(data(c.model));
    DeviceSession whole(model, 64, 0, false), single(model, 64, 0, false);
    std::vector<float> prefill = feed(whole, golden.ids, model->hyper.vocab, golden.ids.size());
    double error = nmse(prefill, golden.logits);
    MESSAGE(std::string(c.model), ": normalised mean square error ", error);
    CHECK(error < tolerance);
    CHECK(feed(single, golden.ids, model->hyper.vocab, 1) == prefill);
  }
  check_no_validation_messages();
}

TEST_CASE("device: the shapes of a GPU give the goldens' logits, too, in a batch as alone") {
  for (const Case& c : cases) {
    CAPTURE(c.model);
    Golden golden(data(c.golden));
    std::shared_ptr<Model> model = place(data(c.model));
    DeviceSession whole(model, 64, 0, false, gpu_shapes()), parts(model, 64, 0, false, gpu_shapes());
    std::vector<float> prefill = feed(whole, golden.ids, model->hyper.vocab, golden.ids.size());
    CHECK(nmse(prefill, golden.logits) < tolerance);
    std::vector<float> in_parts = feed(parts, {golden.ids.begin(), golden.ids.begin() + 20}, model->hyper.vocab, 20);
    for (size_t at = 20; at < golden.ids.size(); ++at) {
      std::vector<float> one = feed(parts, {golden.ids[at]}, model->hyper.vocab, 1);
      in_parts.insert(in_parts.end(), one.begin(), one.end());
    }
    CHECK(in_parts == prefill);
  }
  check_no_validation_messages();
}

TEST_CASE("reference: logits of the goldens") {
  for (const Case& c : cases) {
    CAPTURE(c.model);
    Golden golden(data(c.golden));
    std::shared_ptr<ModelSpec> spec = read_spec(data(c.model));
    ref::RefSession session(spec, 64);
    double error = nmse(feed(session, golden.ids, spec->hyper.vocab, golden.ids.size()), golden.logits);
    MESSAGE(std::string(c.model), ": normalised mean square error ", error);
    CHECK(error < tolerance);
  }
}

TEST_CASE("device: greedy continuation of the goldens") {
  for (const char* name : {"mixtral", "qwen3_moe", "phimoe", "dbrx", "grok"}) {
    CAPTURE(name);
    Golden golden(data(cat("goldens/", name, "/golden.safetensors")));
    DeviceSession session(place(data(cat("goldens/", name))), 64, 0, false);
    session.feed(golden.ids.data(), 16, nullptr);
    std::vector<int32_t> made;
    session.generate(SampleRule{0, 0, 1, 0, 1, 0, 0, 0}, uint32_t(golden.greedy.size()), [&](int32_t id) {
      made.push_back(id);
      return false;
    });
    CHECK(made == golden.greedy);
  }
  check_no_validation_messages();
}
