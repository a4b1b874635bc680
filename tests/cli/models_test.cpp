// vkmoe models: docs/models.md is its output, and what it computes.
#include <nlohmann/json.hpp>

#include "process.h"

TEST_CASE("models: docs/models.md is what --markdown prints") {
  const Result result = vkmoe({"models", "--markdown"});
  check_success(result);
  CHECK(result.out == read_file(source_dir + "/docs/models.md"));
}

TEST_CASE("models: the list and what fits") {
  const Result result = vkmoe({"models", "--json"});
  check_success(result);
  const auto all = nlohmann::json::parse(result.out);
  CHECK(all.at("bits").at("Q8_0") == 8.5);
  CHECK(all.at("bits").at("Q4_K") == 4.5);
  bool found = false;
  for (const auto& family : all.at("families")) {
    CAPTURE(family.at("family"));
    CHECK(!family.at("model_type").empty());
    for (const auto& model : family.at("models")) {
      CHECK(model.at("billions") > model.at("active_billions"));
      if (model.at("name") != "Mixtral-8x7B") continue;
      found = true;
      // 46.7 billion weights in 24 GiB * 0.9 - 0.5 GB = 22.7 GB: 3.9 bits each, so Q3_K's 3.44 fit and Q4_K's 4.5 do not.
      CHECK(model.at("largest_type_that_fits").at("24 GB") == "Q3_K");
      CHECK(model.at("largest_type_that_fits").at("phone").is_null());  // half a bit each
    }
  }
  CHECK(found);
  for (const auto& memory : all.at("memories")) CHECK(memory.at("largest").contains("model"));
  const Result table = vkmoe({"models"});
  check_success(table);
  CHECK(table.out.find("Mixtral-8x7B") != std::string::npos);
  CHECK(vkmoe({"models", "--json", "--markdown"}).exit_code == 2);
}
