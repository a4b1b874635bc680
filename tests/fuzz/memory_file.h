// A fuzzer's input as a mapped file. Linux only, as the fuzzers are.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "base/mapped_file.h"

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
