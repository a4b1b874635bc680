// A fuzzer's input: as a mapped file, or as parts between zero bytes. Linux only, as the fuzzers are.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/mapped_file.h"
#include "loader/json_file.h"

inline std::shared_ptr<vkmoe::MappedFile> memory_file(const uint8_t* data, size_t size) {
  int fd = memfd_create("fuzz", 0);
  if (fd < 0) std::abort();
  for (size_t at = 0; at < size;) {
    ssize_t count = write(fd, data + at, size - at);
    if (count <= 0) std::abort();
    at += size_t(count);
  }
  auto file = vkmoe::MappedFile::open_fd(fd, 0, 0, "input");
  close(fd);
  return file;
}

// Takes what stands before the next zero byte away from the input.
inline std::string_view next_part(std::string_view& input) {
  std::string_view part = input.substr(0, input.find('\0'));
  input.remove_prefix(std::min(input.size(), part.size() + 1));
  return part;
}

// null where the part is empty, as for a file that a folder does not have.
inline nlohmann::json json_part(std::string_view part) {
  if (part.empty()) return {};
  return vkmoe::parse_json(reinterpret_cast<const uint8_t*>(part.data()), part.size(), "input");
}
