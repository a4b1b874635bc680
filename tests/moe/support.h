// Golden files, comparison and device for the tests of the moe room.
#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "moe/device_session.h"
#include "moe/ref/ref.h"

namespace vkmoe::test {

inline std::string data(const std::string& name) { return std::string(VKMOE_SOURCE_DIR "/tests/data/") + name; }

// The device of this run (chosen by the environment); one for all tests.
inline std::shared_ptr<Device> device() {
  static std::shared_ptr<Device> opened = Device::open("");
  return opened;
}

// Every test ends with this: the validation layer had nothing to say.
inline void check_no_validation_messages() {
  for (const std::string& message : device()->validation_messages()) FAIL_CHECK(message);
}

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE_MESSAGE(in.good(), path);
  std::stringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

// The arrays of a safetensors file.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path) : bytes_(read_file(path)) {
    std::memcpy(&header_bytes_, bytes_.data(), 8);
    header_ = nlohmann::json::parse(bytes_.substr(8, header_bytes_));
  }
  bool has(const char* name) const { return header_.contains(name); }
  std::vector<int32_t> ids(const char* name) const {  // of int64
    std::vector<int64_t> wide = values<int64_t>(name);
    return {wide.begin(), wide.end()};
  }
  std::vector<float> floats(const char* name) const { return values<float>(name); }
  std::map<std::string, std::vector<uint64_t>> shapes() const {  // of all arrays
    std::map<std::string, std::vector<uint64_t>> all;
    for (const auto& [name, entry] : header_.items())
      if (entry.contains("shape")) all[name] = entry["shape"].get<std::vector<uint64_t>>();
    return all;
  }

 private:
  template <class T>
  std::vector<T> values(const char* name) const {
    REQUIRE_MESSAGE(has(name), name);
    size_t begin = header_[name]["data_offsets"][0], end = header_[name]["data_offsets"][1];
    std::vector<T> made((end - begin) / sizeof(T));
    std::memcpy(made.data(), bytes_.data() + 8 + header_bytes_ + begin, end - begin);
    return made;
  }
  std::string bytes_;
  uint64_t header_bytes_ = 0;
  nlohmann::json header_;
};

// input_ids, greedy ids and logits of a golden.safetensors.
struct Golden {
  std::vector<int32_t> ids, greedy;
  std::vector<float> logits;

  explicit Golden(const std::string& path) {
    SafetensorsFile file(path);
    ids = file.ids("input_ids");
    if (file.has("greedy")) greedy = file.ids("greedy");
    logits = file.floats("logits");
  }
};

// sum((a - b)^2) / sum((b - mean(b))^2)
inline double nmse(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double mean = 0, error = 0, power = 0;
  for (float v : b) mean += v / double(b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    error += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    power += (b[i] - mean) * (b[i] - mean);
  }
  return error / power;
}

inline std::shared_ptr<ModelSpec> read_spec(const std::string& path) {
  return std::make_shared<ModelSpec>(read_model_spec(ModelFile::open(path)));
}

inline std::shared_ptr<Model> place(const std::string& path) {
  return place_model(device(), *read_spec(path), [](uint64_t, uint64_t) {});
}

// The shapes of a GPU on any device, without what rounds more than float32.
inline Tuning gpu_shapes() {
  Tuning tuning = Tuning::gpu(device()->caps());
  tuning.products = Products::exact;
  tuning.half_cache = false;
  return tuning;
}

// Logits of all tokens, fed in pieces of the given sizes (the last repeats).
inline std::vector<float> feed(Session& session, const std::vector<int32_t>& ids, uint32_t vocab, size_t piece) {
  std::vector<float> logits(ids.size() * vocab);
  for (size_t at = 0; at < ids.size(); at += piece)
    session.feed(&ids[at], std::min(piece, ids.size() - at), &logits[at * vocab]);
  return logits;
}

inline std::vector<int32_t> random_ids(uint32_t vocab, size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = int32_t(random() % vocab);
  return ids;
}

}  // namespace vkmoe::test
