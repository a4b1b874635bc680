// vkmoe bench: its figures, the work and the roofline of each kernel, sweeps and their plot.
#include <nlohmann/json.hpp>

#include "process.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

using nlohmann::json;

namespace {

const std::string default_gguf = source_dir + "/models/vkmoe-default.gguf";

json json_of(const Result& result) {
  check_success(result);
  return json::parse(result.out);
}

}  // namespace

TEST_CASE("bench") {
  const json result =
      json_of(vkmoe({"bench", "-m", default_gguf, "-p", "16", "-n", "4", "-r", "1", "--profile", "--json"}));
  for (const char* key : {"load_seconds", "first_token_seconds", "prefill_tokens_per_second",
                          "decode_tokens_per_second", "bytes_per_token", "gigabytes_per_second", "device_bytes"}) {
    CAPTURE(key);
    CHECK(result[key].get<double>() > 0);
  }
  CHECK(result["per_token"]["decode"]["dispatches"].get<double>() > 1);
  CHECK(result["per_token"]["decode"]["submits"].get<double>() <= 1);
  CHECK(result["roofline"]["gigabytes_per_second"].get<double>() > 0);
  CHECK(result["roofline"]["gflops_per_second"].get<double>() > 0);
  double prefill = 0, decode = 0;  // dispatches
  for (const json& kernel : result["kernels"]) {
    if (kernel["name"] == "copy") continue;  // no dispatch
    if (kernel["name"] != "all") {
      (kernel["phase"] == "prefill" ? prefill : decode) += kernel["dispatches"].get<double>();
      continue;
    }
    for (const char* key : {"gigabytes_per_second", "gflops_per_second", "roofline_share"}) CHECK(kernel[key].get<double>() > 0);
    if (kernel["phase"] == "decode")  // beside the weights: activations and the cache
      CHECK(kernel["bytes"].get<double>() / 4 == doctest::Approx(result["bytes_per_token"].get<double>()).epsilon(0.25));
  }
  CHECK(prefill == result["per_token"]["prefill"]["dispatches"].get<double>() * 16);
  CHECK(decode == result["per_token"]["decode"]["dispatches"].get<double>() * 4);
  const Result profile = vkmoe({"bench", "-m", default_gguf, "-p", "4", "-n", "2", "-r", "1", "--profile"});
  check_success(profile);
  for (const char* part : {"roofline", "GFLOP/s", "prefill", "decode", "matmul"})
    CHECK(profile.out.find(part) != std::string::npos);
  check_success(vkmoe({"bench", "-m", default_gguf, "-p", "4", "-n", "2", "-r", "1"}));
}

TEST_CASE("bench --sweep writes JSON and a plot, or nothing") {
  Scratch scratch;
  const std::string file = scratch / "sweep.json", plot = scratch / "sweep.png";
  const json printed = json_of(vkmoe({"bench", "-m", default_gguf, "-p", "33", "-n", "2", "-r", "1", "-c", "40", "--sweep", file,
                                      "--plot", plot, "--json"}));
  const json sweep = json::parse(read_file(file));
  CHECK(printed == sweep);
  std::vector<int> prompts, contexts, batches;
  for (const json& point : sweep["prefill"]) {
    prompts.push_back(point["tokens"]);
    CHECK(point["tokens_per_second"].get<double>() * point["seconds"].get<double>() == doctest::Approx(prompts.back()));
  }
  for (const json& point : sweep["decode"]) {
    contexts.push_back(point["context_tokens"]);
    CHECK(point["tokens_per_second"].get<double>() > 0);
  }
  for (const json& point : sweep["batch"]) {
    batches.push_back(point["tokens"]);
    CHECK(point["seconds"].get<double>() > 0);
  }
  CHECK(prompts == std::vector<int>{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33});
  CHECK(contexts == std::vector<int>{1, 32});
  CHECK(batches.size() == 40);  // as far as the context allows
  CHECK(batches.back() == 40);
  CHECK(sweep["batch_worst_step"].get<double>() > 0);

  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(stbi_load(plot.c_str(), &width, &height, &channels, 3), stbi_image_free);
  REQUIRE(pixels);
  CHECK(width > 3 * height);
  int drawn[3] = {};  // blue pixels, that is points and lines, in each third
  for (int i = 0; i < width * height; ++i) {
    const stbi_uc* p = pixels.get() + 3 * i;
    drawn[i % width * 3 / width] += p[2] > p[0] + 80;
  }
  for (int third : drawn) CHECK(third > 100);
  CHECK(std::distance(fs::directory_iterator(scratch.path), fs::directory_iterator()) == 2);

  for (const std::string& bad : {scratch / "absent/sweep.json", scratch.path.string()}) {
    check_failure(vkmoe({"bench", "-m", default_gguf, "--sweep", bad}), {bad});
    check_failure(vkmoe({"bench", "-m", default_gguf, "--sweep", scratch / "new.json", "--plot", bad}), {bad});
  }
  check_failure(vkmoe({"bench", "-m", default_gguf, "--plot", scratch / "new.png"}), {"--plot"}, 2);
  check_failure(vkmoe({"bench", "-m", default_gguf, "-c", "1", "--sweep", scratch / "new.json"}), {"2 tokens"});
  CHECK(std::distance(fs::directory_iterator(scratch.path), fs::directory_iterator()) == 2);
}
