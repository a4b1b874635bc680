// Builds a GGUF in memory, good or bad. For tests of any room.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

class GgufWriter {
 public:
  uint32_t version = 3;
  uint32_t alignment = 32;  // written as general.alignment only where it is not 32
  // What the header claims; -1: the truth.
  int64_t claimed_tensors = -1, claimed_kvs = -1;

  template <class T>
  static std::string raw(T value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static std::string text(const std::string& value) { return raw<uint64_t>(value.size()) + value; }

  // Any type, value already encoded.
  GgufWriter& kv(const std::string& key, uint32_t type, const std::string& value) {
    kvs_.push_back(text(key) + raw(type) + value);
    return *this;
  }
  GgufWriter& u32(const std::string& key, uint32_t value) { return kv(key, 4, raw(value)); }
  GgufWriter& f32(const std::string& key, float value) { return kv(key, 6, raw(value)); }
  GgufWriter& boolean(const std::string& key, bool value) { return kv(key, 7, raw(uint8_t(value))); }
  GgufWriter& string(const std::string& key, const std::string& value) { return kv(key, 8, text(value)); }
  GgufWriter& strings(const std::string& key, const std::vector<std::string>& values) {
    std::string body = raw(uint32_t(8)) + raw(uint64_t(values.size()));
    for (const auto& value : values) body += text(value);
    return kv(key, 9, body);
  }
  GgufWriter& i32s(const std::string& key, const std::vector<int32_t>& values) {
    std::string body = raw(uint32_t(5)) + raw(uint64_t(values.size()));
    for (int32_t value : values) body += raw(value);
    return kv(key, 9, body);
  }
  GgufWriter& f32s(const std::string& key, const std::vector<float>& values) {
    std::string body = raw(uint32_t(6)) + raw(uint64_t(values.size()));
    for (float value : values) body += raw(value);
    return kv(key, 9, body);
  }

  // dims in ggml's order, the row length first. The offset is the next free one unless it is given.
  GgufWriter& tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type,
                     const std::string& data, int64_t offset = -1) {
    std::string info = text(name) + raw(uint32_t(dims.size()));
    for (uint64_t dim : dims) info += raw(dim);
    info += raw(type) + raw(uint64_t(offset < 0 ? int64_t(data_.size()) : offset));
    infos_.push_back(info);
    data_ += data;
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }

  std::string bytes() const {
    auto kvs = kvs_;
    if (alignment != 32) kvs.push_back(text("general.alignment") + raw(uint32_t(4)) + raw(alignment));
    std::string out = "GGUF" + raw(version);
    out += raw(claimed_tensors < 0 ? uint64_t(infos_.size()) : uint64_t(claimed_tensors));
    out += raw(claimed_kvs < 0 ? uint64_t(kvs.size()) : uint64_t(claimed_kvs));
    for (const auto& kv : kvs) out += kv;
    for (const auto& info : infos_) out += info;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data_;
  }

 private:
  std::vector<std::string> kvs_, infos_;
  std::string data_;
};
