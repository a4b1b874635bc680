// The commands of README.md, run as they stand there, so that they cannot rot. In README.md,
//   ```sh             is run by sh in a folder that looks like the checkout, unless it sets the checkout up (./run.sh),
//   ```text           after it is exactly what it prints,
//   ```text varies    is an example of what it prints,
//   ```c              becomes example.c.
#include <sstream>

#include "process.h"

namespace {

struct Block {
  std::string info, text;
};

std::vector<Block> blocks_of(const std::string& markdown) {
  std::vector<Block> blocks;
  std::istringstream lines(markdown);
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("```", 0) == 0) {
      inside = !inside;
      if (inside) blocks.push_back({line.substr(3), ""});
    } else if (inside) {
      blocks.back().text += line + "\n";
    }
  }
  CHECK(!inside);
  return blocks;
}

}  // namespace

TEST_SUITE("README") {
  TEST_CASE("its commands work and print what it says") {
    Scratch scratch;
    for (const char* name : {"models", "tests", "include"}) {
      fs::create_directory_symlink(fs::path(source_dir) / name, scratch.path / name);
    }
    fs::create_directory_symlink(VKMOE_BINARY_DIR, scratch.path / "build");
    const std::vector<Block> blocks = blocks_of(read_file(source_dir + "/README.md"));
    REQUIRE(blocks.size() > 8);
    CHECK(blocks[0].text.find("./run.sh") == 0);
    CHECK(blocks[0].text.find("./test.sh") != std::string::npos);
    for (const Block& block : blocks) {
      if (block.info == "c") write_file(scratch / "example.c", block.text);
    }
    int commands = 0;
    for (size_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i].info != "sh" || blocks[i].text.find("./run.sh") != std::string::npos) continue;
      CAPTURE(blocks[i].text);
      Environment environment;  // what tune stores is nobody's but this test's
      if (blocks[i].text.find("vkmoe tune") != std::string::npos) environment["VKMOE_CACHE_DIR"] = scratch / "cache";
      const Result result = run_command({"sh", "-euc", blocks[i].text}, environment, "", scratch.path.string());
      CHECK(result.exit_code == 0);
      CHECK(result.err == "");
      if (i + 1 < blocks.size() && blocks[i + 1].info == "text") CHECK(result.out == blocks[i + 1].text);
      ++commands;
    }
    CHECK(commands >= 8);
  }
}
