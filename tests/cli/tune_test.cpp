// vkmoe tune: what it says and stores, and what other commands make of that.
#include <nlohmann/json.hpp>

#include "process.h"

using nlohmann::json;

namespace {

const std::string default_gguf = source_dir + "/models/vkmoe-default.gguf";

json tuning_of(const Environment& environment) {
  const Result bench = vkmoe({"bench", "-m", default_gguf, "-p", "2", "-n", "2", "-r", "1", "--json"}, environment);
  check_success(bench);
  return json::parse(bench.out).at("tuning");
}

}  // namespace

TEST_CASE("tune stores a choice that sessions take, and nothing else changes") {
  Scratch scratch;
  const Environment environment = {{"VKMOE_CACHE_DIR", scratch / "cache"}};
  write_file(scratch / "ids", "1 2 3 4 5");
  // Logits as bytes, and what is said on standard error.
  const auto logits = [&] {
    const Result result = vkmoe({"logits", "-m", default_gguf, "--ids", scratch / "ids", "-o", scratch / "logits"}, environment);
    CHECK(result.exit_code == 0);
    return std::pair(read_file(scratch / "logits"), result.err);
  };
  const json built_in = tuning_of(environment);
  const std::string before = logits().first;

  const Result tuned = vkmoe({"tune", "-m", default_gguf, "--seconds", "2", "--json"}, environment);
  check_success(tuned);
  const json report = json::parse(tuned.out);
  CHECK(report.at("passes").size() == 4);
  for (const json& pass : report.at("passes")) CHECK(pass.at("built_in_tokens_per_second").get<double>() > 0);
  CHECK(tuning_of(environment) == report.at("tuning"));

  // Another choice in the same file shows that the file is what is read.
  const std::string path = report.at("stored");
  json file = json::parse(read_file(path));
  file["choices"][report.at("shapes").get<std::string>()]["fused_router_bytes"] = 7;
  write_file(path, file.dump());
  CHECK(tuning_of(environment).at("fused_router_bytes") == 7);
  CHECK((logits() == std::pair(before, std::string())));

  file["kernels"] = "others";
  write_file(path, file.dump());
  CHECK(tuning_of(environment) == built_in);
  for (const char* broken : {"{", "[]", "{\"kernels\": 1, \"choices\": []}"}) {
    write_file(path, broken);
    const auto [bytes, warning] = logits();
    CHECK((bytes == before));
    CHECK(warning.find("warning: no stored tuning") != std::string::npos);
    CHECK(std::count(warning.begin(), warning.end(), '\n') == 1);
  }
}
