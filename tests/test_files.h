// Files for tests, and a check that something fails as it should.
#pragma once
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <string>

#include "base/error.h"

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE_MESSAGE(in.good(), path);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

inline std::string data_path(const std::string& name) { return std::string(VKMOE_SOURCE_DIR "/tests/data/") + name; }

// An empty folder of this name in the build folder, removed at the end.
struct TestFolder {
  std::filesystem::path path;
  explicit TestFolder(const std::string& name) : path(std::filesystem::path(VKMOE_BINARY_DIR) / "test-files" / name) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~TestFolder() { std::filesystem::remove_all(path); }

  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream out(path / name, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), std::streamsize(bytes.size()));
    REQUIRE(out.good());
    return (path / name).string();
  }
};

// Checks that `body` throws Error with this status, all of the parts in its message.
template <class Body>
void check_fails(vkmoe_status status, std::initializer_list<const char*> parts, const Body& body) {
  try {
    body();
    FAIL_CHECK("expected an error with '" << std::string(*parts.begin()) << "'");
  } catch (const vkmoe::Error& error) {
    std::string message = error.what();
    CAPTURE(message);
    CHECK(error.status == status);
    for (std::string part : parts) {
      CAPTURE(part);
      bool found = message.find(part) != std::string::npos;
      CHECK(found);
    }
  }
}
