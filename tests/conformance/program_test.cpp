// The program vkmoe-conformance as its users run it: the quick set passes on this driver, a case can be repeated by its
// name alone, reports are joined into a page, and wrong input is turned down.
#include <nlohmann/json.hpp>

#include "cli/process.h"

namespace {

Result conformance(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), std::string(VKMOE_BINARY_DIR) + "/vkmoe-conformance");
  return run_command(arguments);
}

}  // namespace

TEST_CASE("the quick set passes, and says so in JSON and as a page") {
  Scratch scratch;
  const Result result = conformance({"--json", scratch / "a.json", "--html", scratch / "a.html"});
  INFO(result.out);
  check_success(result);
  const auto report = nlohmann::json::parse(read_file(scratch / "a.json"));
  int passed = 0;
  for (const auto& c : report.at("cases")) {
    CHECK(c.at("status") != "failed");
    passed += c.at("status") == "passed";
  }
  CHECK(passed > 600);
  const std::string page = read_file(scratch / "a.html");
  CHECK(page.find("</html>") != std::string::npos);
  CHECK(page.find("http") == std::string::npos);  // self-contained

  const Result joined = conformance({scratch / "a.json", scratch / "a.json", "--html", scratch / "both.html"});
  check_success(joined);
  CHECK(joined.out.find(std::to_string(passed) + " passed, 0 failed") != std::string::npos);
  CHECK(read_file(scratch / "both.html").size() > page.size());
}

TEST_CASE("one case runs by its name, with equal numbers each time; another seed gives others") {
  Scratch scratch;
  auto error_of = [&](const std::string& seed) {
    check_success(conformance({"--filter", "rmsnorm/lanes=64/rows=3,first=2,width=100", "--seed", seed, "--repeat", "3", "--json",
                               scratch / "one.json"}));
    const auto cases = nlohmann::json::parse(read_file(scratch / "one.json")).at("cases");
    REQUIRE(cases.size() == 1);
    return cases[0].at("error").get<double>();
  };
  CHECK(error_of("1") == error_of("1"));
  CHECK(error_of("1") != error_of("2"));
}

TEST_CASE("wrong command lines and reports end with one line") {
  Scratch scratch;
  auto check_fails = [](const Result& result, const std::string& part, int exit_code) {
    CHECK(result.exit_code == exit_code);
    CHECK(result.err.find("vkmoe-conformance: ") == 0);
    CHECK_MESSAGE(result.err.find(part) != std::string::npos, result.err);
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  };
  check_fails(conformance({"--filter", "no-such-kernel"}), "no-such-kernel", 2);
  check_fails(conformance({"--repeat", "0"}), "--repeat", 2);
  check_fails(conformance({"--device", "no such device", "--filter", "begin_step"}), "no such device", 1);
  check_fails(conformance({scratch / "missing.json"}), "missing.json", 1);
  write_file(scratch / "bad.json", R"({"program": "vkmoe-conformance", "cases": 3})");
  check_fails(conformance({scratch / "bad.json"}), "bad.json", 1);
  write_file(scratch / "cut.json", "{\"program\":");
  check_fails(conformance({scratch / "cut.json"}), "cut.json", 1);
}
