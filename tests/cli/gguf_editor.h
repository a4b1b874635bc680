// Changes single fields of a GGUF in memory, to make files that lie. Reads only files that are right.
#pragma once
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>

class GgufEditor {
 public:
  struct TensorInfo {  // positions in the file
    size_t name, name_bytes, shape, type, offset;
  };

  explicit GgufEditor(std::string file) : bytes(std::move(file)) {
    REQUIRE(bytes.substr(0, 4) == "GGUF");
    at_ = 24;
    const auto tensor_count = get<uint64_t>(8), key_count = get<uint64_t>(16);
    for (uint64_t i = 0; i < key_count; ++i) {
      const std::string key = take_string();
      const auto type = take<uint32_t>();
      values[key] = at_;
      skip_value(type);
    }
    for (uint64_t i = 0; i < tensor_count; ++i) {
      TensorInfo info;
      info.name_bytes = get<uint64_t>(at_);
      info.name = at_ + 8;
      const std::string name = take_string();
      const auto dimensions = take<uint32_t>();
      info.shape = at_;
      info.type = at_ + 8 * dimensions;
      info.offset = info.type + 4;
      at_ = info.offset + 8;
      tensors[name] = info;
    }
  }

  template <class T>
  T get(size_t position) const {
    T value;
    REQUIRE(position + sizeof value <= bytes.size());
    std::memcpy(&value, bytes.data() + position, sizeof value);
    return value;
  }
  template <class T>
  void set(size_t position, T value) {
    REQUIRE(position + sizeof value <= bytes.size());
    std::memcpy(bytes.data() + position, &value, sizeof value);
  }

  std::string bytes;
  std::map<std::string, size_t> values;  // where a key's value begins
  std::map<std::string, TensorInfo> tensors;

 private:
  template <class T>
  T take() {
    const T value = get<T>(at_);
    at_ += sizeof value;
    return value;
  }
  std::string take_string() {
    const auto length = take<uint64_t>();
    at_ += length;
    return bytes.substr(at_ - length, length);
  }
  void skip_value(uint32_t type) {
    static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    REQUIRE(type < 13);
    if (type == 8) {
      take_string();
    } else if (type == 9) {
      const auto element = take<uint32_t>();
      const auto count = take<uint64_t>();
      for (uint64_t i = 0; i < count; ++i) skip_value(element);
    } else {
      at_ += sizes[type];
    }
  }
  size_t at_ = 0;
};
