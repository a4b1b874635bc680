#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace vkmoe {

std::shared_ptr<MappedFile> MappedFile::open(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(VKMOE_ERROR_NOT_FOUND, path, ": cannot be opened: ", std::strerror(errno));
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  } closer{fd};
  return open_fd(fd, 0, 0, path);
}

std::shared_ptr<MappedFile> MappedFile::open_fd(int fd, uint64_t offset_bytes, uint64_t length_bytes,
                                                const std::string& name) {
  struct stat info;
  if (::fstat(fd, &info) != 0) fail(VKMOE_ERROR_NOT_FOUND, name, ": cannot be read: ", std::strerror(errno));
  if (!S_ISREG(info.st_mode)) fail(VKMOE_ERROR_BAD_FILE, name, ": expected a regular file, found something else");
  uint64_t file_bytes = uint64_t(info.st_size);
  if (offset_bytes > file_bytes || length_bytes > file_bytes - offset_bytes)
    fail(VKMOE_ERROR_BAD_FILE, name, ": the file has ", file_bytes, " bytes, the range asked for starts at ",
         offset_bytes, " with ", length_bytes);
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = name;
  file->size_bytes_ = length_bytes ? length_bytes : file_bytes - offset_bytes;
  if (file->size_bytes_ == 0) return file;
  uint64_t lead_bytes = offset_bytes % uint64_t(::sysconf(_SC_PAGESIZE));  // a mapping starts at a page
  file->mapping_bytes_ = size_t(lead_bytes + file->size_bytes_);
  void* mapping = ::mmap(nullptr, file->mapping_bytes_, PROT_READ, MAP_PRIVATE, fd, off_t(offset_bytes - lead_bytes));
  if (mapping == MAP_FAILED) fail(VKMOE_ERROR_NOT_FOUND, name, ": cannot be mapped: ", std::strerror(errno));
  file->mapping_ = mapping;
  file->data_ = static_cast<const uint8_t*>(mapping) + lead_bytes;
  return file;
}

void MappedFile::release(const uint8_t* begin, uint64_t size_bytes) const {
  if (begin < data_ || begin > data_ + size_bytes_) return;
  auto page = uintptr_t(::sysconf(_SC_PAGESIZE));
  uintptr_t first = uintptr_t(begin) / page * page;
  uintptr_t end = uintptr_t(begin) + std::min<uint64_t>(size_bytes, uint64_t(data_ + size_bytes_ - begin));
  ::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (mapping_) ::munmap(mapping_, mapping_bytes_);
}

}  // namespace vkmoe
