#include "runtime/pipeline_cache.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "runtime/gpu.h"

namespace vkmoe {
namespace {

namespace fs = std::filesystem;

constexpr char kMagic[8] = {'v', 'k', 'm', 'o', 'e', 'P', 'C', '1'};
constexpr size_t kHeaderBytes = 24;
constexpr uint64_t kMostFileBytes = 256 << 20;

uint64_t fnv1a(const void* data, size_t size, uint64_t hash = 0xcbf29ce484222325) {
  for (size_t i = 0; i < size; i++) hash = (hash ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3;
  return hash;
}

uint64_t checksum(const std::string& key, const uint8_t* blob, size_t size) {
  return fnv1a(blob, size, fnv1a(key.data(), key.size()));
}

std::string cache_folder() {
  auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value ? value : "");
  };
  if (auto folder = variable("VKMOE_CACHE_DIR"); !folder.empty()) return folder;
  if (auto folder = variable("XDG_CACHE_HOME"); !folder.empty()) return folder + "/vkmoe";
  if (auto folder = variable("HOME"); !folder.empty()) return folder + "/.cache/vkmoe";
  if (auto folder = variable("LOCALAPPDATA"); !folder.empty()) return folder + "/vkmoe/cache";
  return "";
}

std::string make_key(const Gpu& gpu) {
  VkPhysicalDeviceProperties properties;
  vkGetPhysicalDeviceProperties(gpu.physical.handle, &properties);
  std::string uuid;
  for (uint8_t byte : properties.pipelineCacheUUID) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", byte);
    uuid += text;
  }
  char ids[64];
  std::snprintf(ids, sizeof ids, "%08x-%08x-%08x-", properties.vendorID, properties.deviceID,
                properties.driverVersion);
  return cat(ids, uuid, "-" VKMOE_VERSION);
}

}  // namespace

std::vector<uint8_t> pack_cache_file(const std::string& key, const std::vector<uint8_t>& blob) {
  std::vector<uint8_t> file(kHeaderBytes + blob.size());
  uint64_t length = blob.size(), sum = checksum(key, blob.data(), blob.size());
  std::memcpy(file.data(), kMagic, 8);
  std::memcpy(file.data() + 8, &length, 8);
  std::memcpy(file.data() + 16, &sum, 8);
  std::copy(blob.begin(), blob.end(), file.begin() + kHeaderBytes);
  return file;
}

std::optional<std::vector<uint8_t>> unpack_cache_file(const std::string& key, const std::vector<uint8_t>& file) {
  if (file.size() < kHeaderBytes || std::memcmp(file.data(), kMagic, 8)) return std::nullopt;
  uint64_t length, sum;
  std::memcpy(&length, file.data() + 8, 8);
  std::memcpy(&sum, file.data() + 16, 8);
  if (length != file.size() - kHeaderBytes) return std::nullopt;
  if (sum != checksum(key, file.data() + kHeaderBytes, length)) return std::nullopt;
  return std::vector<uint8_t>(file.begin() + kHeaderBytes, file.end());
}

std::string device_cache_path(const Gpu& gpu, const std::string& extension) {
  std::string folder = cache_folder();
  return folder.empty() ? "" : folder + "/" + make_key(gpu) + extension;
}

PipelineCache::PipelineCache(Gpu& gpu) : gpu_(gpu), key_(make_key(gpu)), path_(device_cache_path(gpu, ".bin")) {
  std::vector<uint8_t> blob = load();
  VkPipelineCacheCreateInfo info = {VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  info.initialDataSize = blob.size();
  info.pInitialData = blob.data();
  check(vkCreatePipelineCache(gpu.device, &info, nullptr, &handle_), "vkCreatePipelineCache");
  // What the driver makes of the blob may be larger than the blob (SwiftShader adds a header each time).
  if (blob.empty()) return;
  check(vkGetPipelineCacheData(gpu.device, handle_, &saved_bytes_, nullptr), "vkGetPipelineCacheData");
}

PipelineCache::~PipelineCache() { vkDestroyPipelineCache(gpu_.device, handle_, nullptr); }

void PipelineCache::warn(const std::string& what) {
  if (!warned_) std::fprintf(stderr, "vkmoe: warning: no pipeline cache: %s\n", what.c_str());
  warned_ = true;
}

// An empty result where there is no file that can be trusted.
std::vector<uint8_t> PipelineCache::load() {
  if (path_.empty()) return {};
  std::error_code error;
  fs::create_directories(fs::path(path_).parent_path(), error);
  if (error) {
    warn(cat(fs::path(path_).parent_path().string(), ": ", error.message()));
    path_.clear();
    return {};
  }
  uint64_t size = fs::file_size(path_, error);
  if (error || size > kMostFileBytes) return {};
  std::ifstream stream(path_, std::ios::binary);
  std::vector<uint8_t> file(size);
  if (!stream.read(reinterpret_cast<char*>(file.data()), std::streamsize(size))) {
    warn(path_ + " cannot be read");
    return {};
  }
  return unpack_cache_file(key_, file).value_or(std::vector<uint8_t>());
}

void PipelineCache::save() noexcept {
  if (path_.empty()) return;
  // A name of its own, so that processes that save at the same time do not write into each other's file.
  std::string temporary = path_ + ".tmp";
  try {
    temporary = cat(path_, ".", std::random_device{}(), ".tmp");
    write(temporary);
  } catch (const std::exception& e) {
    warn(e.what());
    std::error_code ignored;
    fs::remove(temporary, ignored);
  }
}

void PipelineCache::write(const std::string& temporary) {
  size_t size = 0;
  check(vkGetPipelineCacheData(gpu_.device, handle_, &size, nullptr), "vkGetPipelineCacheData");
  if (size <= saved_bytes_) return;
  std::vector<uint8_t> blob(size);
  check(vkGetPipelineCacheData(gpu_.device, handle_, &size, blob.data()), "vkGetPipelineCacheData");
  blob.resize(size);
  std::vector<uint8_t> file = pack_cache_file(key_, blob);
  {
    std::ofstream stream(temporary, std::ios::binary);
    stream.write(reinterpret_cast<const char*>(file.data()), std::streamsize(file.size()));
    stream.close();
    if (!stream) fail(VKMOE_ERROR_NOT_FOUND, temporary, " cannot be written");
  }
  fs::rename(temporary, path_);
  saved_bytes_ = size;
}

}  // namespace vkmoe
