// A read-only view of a file's bytes, mapped and not copied.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace vkmoe {

class MappedFile {
 public:
  // Fails with VKMOE_ERROR_NOT_FOUND when the file cannot be opened, VKMOE_ERROR_BAD_FILE when it is not a regular file.
  static std::shared_ptr<MappedFile> open(const std::string& path);

  // The range [offset_bytes, offset_bytes + length_bytes) of an open file; length 0 means up to its end. The descriptor
  // stays the caller's. `name` stands for the path in messages.
  static std::shared_ptr<MappedFile> open_fd(int fd, uint64_t offset_bytes, uint64_t length_bytes,
                                             const std::string& name);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  uint64_t size() const { return size_bytes_; }
  // A hint that these bytes are not needed soon: they leave memory, and come back from the file when they are read.
  void release(const uint8_t* begin, uint64_t size_bytes) const;
  const std::string& path() const { return path_; }

 private:
  MappedFile() = default;
  std::string path_;
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
  const uint8_t* data_ = nullptr;
  uint64_t size_bytes_ = 0;
};

}  // namespace vkmoe
