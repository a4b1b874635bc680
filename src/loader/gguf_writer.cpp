#include "loader/gguf_writer.h"

#include <algorithm>

#include "base/error.h"
#include "base/numeric.h"
#include "loader/gguf_types.h"

namespace vkmoe {

using nlohmann::json;

namespace {

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, const std::string& text) {
  put(out, uint64_t(text.size()));
  out += text;
}

GgufType type_of(const json& value) {
  if (value.is_string()) return gguf_string;
  if (value.is_boolean()) return gguf_boolean;
  if (value.is_number_float()) return gguf_f32;
  if (value.is_array()) return gguf_array;
  if (value.is_number_unsigned() && value.get<uint64_t>() <= UINT32_MAX) return gguf_u32;
  if (value.is_number_integer() && value >= INT32_MIN && value <= INT32_MAX) return gguf_i32;
  fail(VKMOE_ERROR_INTERNAL, "a GGUF value of type ", value.type_name());
}

void put_value(std::string& out, GgufType type, const json& value) {
  switch (type) {
    case gguf_string: return put_text(out, value.get_ref<const std::string&>());
    case gguf_boolean: return put(out, uint8_t(value.get<bool>()));
    case gguf_f32: return put(out, value.get<float>());
    case gguf_u32: return put(out, value.get<uint32_t>());
    case gguf_i32: return put(out, value.get<int32_t>());
    default: break;
  }
  GgufType element = value.empty() ? gguf_i32 : type_of(value[0]);
  if (element == gguf_u32) element = gguf_i32;
  put(out, uint32_t(element));
  put(out, uint64_t(value.size()));
  for (const json& each : value) put_value(out, element, each);
}

}  // namespace

void GgufHeader::set_raw(const std::string& key, std::string_view type_and_value) {
  remove(key);
  values_.emplace_back(key, type_and_value);
}

void GgufHeader::set(const std::string& key, const json& value) {
  std::string bytes;
  GgufType type = type_of(value);
  put(bytes, uint32_t(type));
  put_value(bytes, type, value);
  set_raw(key, bytes);
}

void GgufHeader::remove(const std::string& key) {
  std::erase_if(values_, [&](const auto& value) { return value.first == key; });
}

void GgufHeader::add_tensor(const std::string& name, const std::vector<uint64_t>& shape, const Format& format) {
  put_text(infos_, name);
  put(infos_, uint32_t(shape.size()));
  uint64_t elems = 1;
  for (auto dim = shape.rbegin(); dim != shape.rend(); ++dim) {
    put(infos_, *dim);
    elems *= *dim;
  }
  put(infos_, format.ggml_type);
  put(infos_, data_bytes_);
  data_bytes_ = round_up(data_bytes_ + row_bytes(format, elems), alignment);
  tensors_++;
}

std::string GgufHeader::bytes() const {
  std::string out = "GGUF";
  put(out, uint32_t(3));
  put(out, tensors_);
  put(out, uint64_t(values_.size()));
  for (const auto& [key, value] : values_) {
    put_text(out, key);
    out += value;
  }
  out += infos_;
  out.resize(round_up(out.size(), alignment));
  return out;
}

}  // namespace vkmoe
