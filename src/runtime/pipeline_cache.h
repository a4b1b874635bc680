// The driver's pipeline cache, kept on disk between runs. What is damaged or foreign is never given to the driver.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "runtime/vk.h"

namespace vkmoe {

struct Gpu;

// The file: magic, length of the blob, checksum of key and blob, blob.
std::vector<uint8_t> pack_cache_file(const std::string& key, const std::vector<uint8_t>& blob);
std::optional<std::vector<uint8_t>> unpack_cache_file(const std::string& key, const std::vector<uint8_t>& file);

// Where something about this device, driver and version of vkmoe is kept; "" where there is no folder for it.
std::string device_cache_path(const Gpu& gpu, const std::string& extension);

class PipelineCache {
 public:
  explicit PipelineCache(Gpu& gpu);
  ~PipelineCache();
  PipelineCache(const PipelineCache&) = delete;
  PipelineCache& operator=(const PipelineCache&) = delete;

  VkPipelineCache handle() const { return handle_; }
  void save() noexcept;  // only if it grew

 private:
  std::vector<uint8_t> load();
  void write(const std::string& temporary);
  void warn(const std::string& what);

  Gpu& gpu_;
  std::string key_;   // device, driver and vkmoe that the blob belongs to
  std::string path_;  // empty: no folder for it
  VkPipelineCache handle_ = VK_NULL_HANDLE;
  size_t saved_bytes_ = 0;
  bool warned_ = false;
};

}  // namespace vkmoe
