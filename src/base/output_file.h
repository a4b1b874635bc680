// A file that appears under its name whole, or not at all.
#pragma once
#include <cstdint>
#include <string>

namespace vkmoe {

class OutputFile {
 public:
  // Makes a temporary file beside `path`, with room for size_bytes where the file system can reserve it. Fails with
  // VKMOE_ERROR_NOT_FOUND when the file cannot be made, VKMOE_ERROR_OUT_OF_SPACE when the disk is full.
  OutputFile(const std::string& path, uint64_t size_bytes);
  ~OutputFile();  // removes what was not committed
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, uint64_t size_bytes);
  // Puts everything on the disk, then gives the file its name, in place of one that had it.
  void commit();

 private:
  [[noreturn]] void fail_errno(const char* what) const;
  std::string path_, temporary_;
  int fd_ = -1;
};

}  // namespace vkmoe
