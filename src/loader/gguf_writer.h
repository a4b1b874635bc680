// Puts a GGUF's header together: key-values and what tensors there are, version 3. Used by moe/quantize.cpp.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "loader/format.h"

namespace vkmoe {

class GgufHeader {
 public:
  static constexpr uint64_t alignment = 32;  // of the data and of each tensor: what readers take for granted

  // A value with its type, as it stands in another file (ModelFile::gguf_values).
  void set_raw(const std::string& key, std::string_view type_and_value);
  // By its JSON type: text, true or false, float32, uint32 (int32 where negative), and arrays of text, of int32 or of
  // float32. A key set again takes the new value.
  void set(const std::string& key, const nlohmann::json& value);
  void remove(const std::string& key);

  // shape: outermost first. Tensors follow each other in the file in the order of these calls.
  void add_tensor(const std::string& name, const std::vector<uint64_t>& shape, const Format& format);

  // The header, padded up to where the data starts; and the bytes of all tensors, each padded.
  std::string bytes() const;
  uint64_t data_bytes() const { return data_bytes_; }

 private:
  std::vector<std::pair<std::string, std::string>> values_;  // key, type and value
  std::string infos_;
  uint64_t tensors_ = 0, data_bytes_ = 0;
};

}  // namespace vkmoe
