#include "base/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/error.h"

namespace vkmoe {

void OutputFile::fail_errno(const char* what) const {
  bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
  fail(full ? VKMOE_ERROR_OUT_OF_SPACE : VKMOE_ERROR_NOT_FOUND, path_, ": ", what, ": ", std::strerror(errno));
}

OutputFile::OutputFile(const std::string& path, uint64_t size_bytes)
    : path_(path), temporary_(cat(path, ".part", ::getpid())) {
  std::error_code error;
  if (std::filesystem::exists(path, error) && !std::filesystem::is_regular_file(path, error))
    fail(VKMOE_ERROR_INVALID_ARGUMENT, path, ": expected a file or nothing, found a folder or a device");
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail_errno("cannot be created");
  try {
#ifdef __linux__
    // A disk without room is told now and not at the end. Not every file system can.
    if (size_bytes && ::fallocate(fd_, 0, 0, off_t(size_bytes)) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
      fail_errno(cat(size_bytes, " bytes cannot be reserved").c_str());
#else
    (void)size_bytes;
#endif
  } catch (...) {
    ::close(fd_);
    ::unlink(temporary_.c_str());
    throw;
  }
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void OutputFile::write(const void* data, uint64_t size_bytes) {
  auto from = static_cast<const char*>(data);
  while (size_bytes) {
    ssize_t count = ::write(fd_, from, size_t(std::min<uint64_t>(size_bytes, 1 << 30)));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_errno("cannot be written");
    from += count;
    size_bytes -= uint64_t(count);
  }
}

void OutputFile::commit() {
  if (::fsync(fd_) != 0) fail_errno("cannot be written");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail_errno("cannot be renamed from its temporary name");
  ::close(fd_);
  fd_ = -1;
  // The new name is on the disk only with the folder that holds it. A folder that cannot be opened is no failure.
  std::string folder = std::filesystem::path(path_).parent_path().string();
  int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace vkmoe
