#include "runtime/pipeline_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "fixture.h"

using namespace vkmoe;
namespace fs = std::filesystem;

namespace {

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_file(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

// A folder of its own, removed at the end.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("vkmoe-cache-test-" + std::to_string(getpid()));
  Folder() { fs::remove_all(path); }
  ~Folder() { fs::remove_all(path); }
  std::vector<fs::path> files() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(path)) found.push_back(entry.path());
    return found;
  }
};

// Opens a device, makes a pipeline, runs it, closes; returns what went to stderr.
std::string run_once() {
  fs::path log = fs::temp_directory_path() / ("vkmoe-cache-log-" + std::to_string(getpid()));
  std::fflush(stderr);
  int saved = dup(2), file = open(log.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
  dup2(file, 2);
  close(file);
  std::vector<uint32_t> result;
  {
    test::Session device;
    Buffer out = device.words({0, 0, 0, 0}, "out");
    Recording recording(*device.device, "run");
    recording.dispatch(device->kernel(test::binary("test_constants"), {4}), {out}, nullptr, 0, 1);
    recording.end();
    device->submit({&recording});
    result = device.read(out, 4);
  }
  std::fflush(stderr);
  dup2(saved, 2);
  close(saved);
  CHECK(result == std::vector<uint32_t>{7, 6, 4, 2});
  std::string text = read_file(log);
  fs::remove(log);
  return text;
}

}  // namespace

TEST_CASE("a cache file is taken only whole and for its own key") {
  std::vector<uint8_t> blob(300);
  for (size_t i = 0; i < blob.size(); i++) blob[i] = uint8_t(i * 31);
  std::vector<uint8_t> file = pack_cache_file("key", blob);
  CHECK(unpack_cache_file("key", file) == blob);
  CHECK(!unpack_cache_file("other key", file));
  for (size_t i = 0; i < file.size(); i++) {
    std::vector<uint8_t> damaged = file;
    damaged[i] ^= 0x10;
    REQUIRE(!unpack_cache_file("key", damaged));
    REQUIRE(!unpack_cache_file("key", std::vector<uint8_t>(file.begin(), file.begin() + ptrdiff_t(i))));
  }
  file.push_back(0);
  CHECK(!unpack_cache_file("key", file));
  CHECK(unpack_cache_file("", pack_cache_file("", {})) == std::vector<uint8_t>());
}

TEST_CASE("the cache is written once, and replaced when it is damaged") {
  Folder folder;
  test::Environment cache("VKMOE_CACHE_DIR", folder.path / "deeper");
  CHECK(run_once() == "");
  folder.path /= "deeper";
  REQUIRE(folder.files().size() == 1);  // and no temporary file
  fs::path file = folder.files()[0];
  std::string good = read_file(file);
  REQUIRE(good.size() > 24);
  auto time = fs::last_write_time(file);
  CHECK(run_once() == "");
  CHECK(fs::last_write_time(file) == time);  // it has not grown
  std::string flipped = good;
  flipped[30] = char(flipped[30] ^ 1);
  std::string half = good.substr(0, good.size() / 2);
  for (const std::string& bad : {flipped, half, std::string("another program's"), std::string()}) {
    write_file(file, bad);
    CHECK(run_once() == "");
    CHECK(read_file(file).substr(0, 8) == "vkmoePC1");
    CHECK(read_file(file).size() == good.size());
    CHECK(folder.files().size() == 1);
  }
  folder.path = folder.path.parent_path();
}

// (Permissions would not do: tests may run as root.)
TEST_CASE("without a usable folder there is one line of warning and no cache") {
  Folder folder;
  fs::create_directories(folder.path);
  write_file(folder.path / "file", "");
  std::string text;
  SUBCASE("a file in the place of the folder") {
    test::Environment cache("VKMOE_CACHE_DIR", folder.path / "file");
    text = run_once();
  }
  SUBCASE("a folder below a file") {
    test::Environment cache("VKMOE_CACHE_DIR", folder.path / "file" / "folder");
    text = run_once();
  }
  SUBCASE("a folder in the place of the cache's file") {
    test::Environment cache("VKMOE_CACHE_DIR", folder.path / "cache");
    run_once();
    for (const auto& entry : fs::directory_iterator(folder.path / "cache")) {
      fs::remove(entry.path());
      fs::create_directories(entry.path() / "in the way");
    }
    text = run_once();
  }
  CHECK(text.rfind("vkmoe: warning: no pipeline cache: ", 0) == 0);
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
}
