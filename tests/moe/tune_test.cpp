// What vkmoe tune takes and refuses, and what sessions make of a stored choice.
#include <cstdlib>
#include <filesystem>

#include "moe/tune.h"
#include "moe/tuned.h"
#include "support.h"

using namespace vkmoe;
using namespace vkmoe::test;

TEST_CASE("tune: shapes that the kernels have are taken, one that leaves rows out is refused") {
  std::string path = data("goldens/mixtral");
  std::shared_ptr<ModelSpec> spec = read_spec(path);
  std::shared_ptr<Model> model = place(path);
  TuningCheck check(model, *spec);
  auto refusal = [&](const Tuning& tuning) { return check.refusal(tuning, *check.open(tuning)); };
  Tuning right = Tuning::of(device()->caps());
  right.share_keys = !right.share_keys;
  CHECK(refusal(right) == "");
  right.texels = false;
  for (uint32_t height = 0; height < TILE_HEIGHTS - 1; ++height) right.matmul[height] = {2, 4, 1};
  CHECK(refusal(right) == "");

  Tuning wrong = right;
  wrong.matmul[0] = {3, 1, 1};  // ten invocations of three rows each: two of 32 are nobody's
  CHECK_FALSE(possible(wrong.matmul[0], 0, false, device()->caps()));
  CHECK(refusal(wrong).find("expected") != std::string::npos);
  Tuning large = right;
  large.matmul[1] = {1, 2048, 1};
  CHECK(refusal(large) != "");
  if (device()->caps().integer_dot && Tuning::of(device()->caps()).products == Products::exact) {
    // Products of integers are near enough, and logits differ from those of exact ones.
    auto q8 = std::make_shared<ModelSpec>(read_model_spec(ModelFile::open(VKMOE_SOURCE_DIR "/models/vkmoe-default.gguf")));
    TuningCheck of_integers(place_model(device(), *q8, [](uint64_t, uint64_t) {}), *q8);
    Tuning integers = gpu_shapes();
    integers.products = Products::int8;
    CHECK(of_integers.refusal(integers, *of_integers.open(integers)).rfind("logit", 0) == 0);
  }
  check_no_validation_messages();
}

TEST_CASE("tune: what is stored is read again, for these shapes, this device and these kernels only") {
  std::shared_ptr<Model> model = place(data("goldens/mixtral")), other = place(data("goldens/qwen2_moe"));
  CHECK(shape_set(*model) != shape_set(*other));
  Tuning built_in = Tuning::of(device()->caps()), chosen = built_in;
  chosen.fused_router_bytes = 12345;
  chosen.share_keys = !built_in.share_keys;
  CHECK(to_json(from_json(to_json(chosen), built_in, device()->caps())) == to_json(chosen));
  nlohmann::json bad = to_json(chosen);
  bad["matmul"][1]["split"] = 3;
  CHECK_THROWS(from_json(bad, built_in, device()->caps()));
  bad = to_json(chosen);
  bad["products"] = "int7";
  CHECK_THROWS(from_json(bad, built_in, device()->caps()));
  bad = to_json(chosen);
  bad.erase("share_keys");
  CHECK_THROWS(from_json(bad, built_in, device()->caps()));
}
