// GGUF, versions 2 and 3, little-endian: ggml's docs/gguf.md. Called by model_file.cpp.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/numeric.h"
#include "loader/gguf_types.h"
#include "loader/model_parts.h"

namespace vkmoe {

using nlohmann::json;

namespace {

// Least bytes of one value in a file, to bound counts before anything is allocated.
constexpr uint64_t least_bytes[gguf_types] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
constexpr uint64_t least_kv_bytes = 8 + 4 + 1, least_tensor_bytes = 8 + 4 + 4 + 8;
constexpr int max_array_depth = 8;
// A JSON value takes 16 bytes where the file may spend one.
constexpr uint64_t max_array_values = uint64_t(1) << 24;

class Reader {
 public:
  explicit Reader(const MappedFile& file) : path(file.path()), data_(file.data()), size_(file.size()) {}

  const std::string& path;
  std::string context = "header";  // what is read, for messages

  uint64_t at() const { return at_; }
  uint64_t left() const { return size_ - at_; }
  std::string_view since(uint64_t start) const {
    return {reinterpret_cast<const char*>(data_) + start, size_t(at_ - start)};
  }

  template <class... Parts>
  [[noreturn]] void bad(const Parts&... parts) const {
    fail(VKMOE_ERROR_BAD_FILE, path, ": ", context, ": ", parts...);
  }

  const uint8_t* take(uint64_t count) {
    if (count > left())
      bad("expected ", count, " more bytes at offset ", at_, ", found ", left(), " up to the end of the file");
    const uint8_t* start = data_ + at_;
    at_ += count;
    return start;
  }

  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }

  std::string text() {
    uint64_t length = number<uint64_t>();
    return std::string(reinterpret_cast<const char*>(take(length)), length);
  }

  json value(uint32_t type, int depth = 0) {
    switch (type) {
      case gguf_u8: return number<uint8_t>();
      case gguf_i8: return number<int8_t>();
      case gguf_u16: return number<uint16_t>();
      case gguf_i16: return number<int16_t>();
      case gguf_u32: return number<uint32_t>();
      case gguf_i32: return number<int32_t>();
      case gguf_f32: return number<float>();
      case gguf_u64: return number<uint64_t>();
      case gguf_i64: return number<int64_t>();
      case gguf_f64: return number<double>();
      case gguf_string: return text();
      case gguf_boolean: {
        uint8_t byte = number<uint8_t>();
        if (byte > 1) bad("expected 0 or 1 for a boolean, found ", int(byte));
        return byte == 1;
      }
      case gguf_array: return values(depth + 1);
    }
    bad("expected a value type below ", uint32_t(gguf_types), ", found ", type);
  }

 private:
  json values(int depth) {
    if (depth > max_array_depth) bad("arrays are nested deeper than ", max_array_depth);
    uint32_t type = number<uint32_t>();
    uint64_t count = number<uint64_t>();
    if (type >= gguf_types) bad("expected a value type below ", uint32_t(gguf_types), ", found ", type);
    if (count > left() / least_bytes[type])
      bad("an array of ", count, " values does not fit in the ", left(), " bytes that are left of the file");
    if (count > max_array_values - values_)
      bad("expected at most ", max_array_values, " array values in all, found ", count, " after ", values_);
    values_ += count;
    json result = json::array();
    result.get_ref<json::array_t&>().reserve(count);
    for (uint64_t i = 0; i < count; i++) result.push_back(value(type, depth));
    return result;
  }

  const uint8_t* data_;
  uint64_t size_, at_ = 0, values_ = 0;
};

struct TensorInfo {
  Tensor tensor;
  uint64_t offset;  // from the start of the data
};

struct Header {
  uint64_t tensor_count, kv_count;
};

Header read_header(Reader& in) {
  const uint8_t* magic = in.take(4);
  if (std::memcmp(magic, "GGUF", 4) != 0) in.bad("expected the magic 'GGUF', found something else");
  uint32_t version = in.number<uint32_t>();
  if (version && !(version & 0xffff))
    fail(VKMOE_ERROR_UNSUPPORTED, in.path, ": big-endian GGUF is not supported, only little-endian");
  if (version != 2 && version != 3)
    fail(VKMOE_ERROR_UNSUPPORTED, in.path, ": GGUF version ", version, " is not supported, only 2 and 3");
  Header header;
  header.tensor_count = in.number<uint64_t>();
  header.kv_count = in.number<uint64_t>();
  if (header.tensor_count > in.left() / least_tensor_bytes)
    in.bad(header.tensor_count, " tensors do not fit in the ", in.left(), " bytes that are left of the file");
  if (header.kv_count > in.left() / least_kv_bytes)
    in.bad(header.kv_count, " key-values do not fit in the ", in.left(), " bytes that are left of the file");
  return header;
}

json read_metadata(Reader& in, uint64_t count, ModelFile& model) {
  json metadata = json::object();
  for (uint64_t i = 0; i < count; i++) {
    in.context = cat("key ", i, " of ", count);
    std::string key = in.text();
    in.context = cat("key '", key, "'");
    uint64_t start = in.at();
    uint32_t type = in.number<uint32_t>();
    if (metadata.contains(key)) in.bad("stands twice");
    metadata[key] = in.value(type);
    model.gguf_values.emplace_back(key, in.since(start));
  }
  return metadata;
}

TensorInfo read_tensor_info(Reader& in) {
  TensorInfo info;
  Tensor& tensor = info.tensor;
  tensor.name = in.text();
  in.context = cat("tensor '", tensor.name, "'");
  uint32_t dims = in.number<uint32_t>();
  if (dims > 4) in.bad("expected at most 4 dimensions, found ", dims);
  uint64_t elems = 1;
  for (uint32_t i = 0; i < dims; i++) {
    uint64_t dim = in.number<uint64_t>();
    if (dim == 0) in.bad("dimension ", i, " is zero");
    if (!checked_mul(elems, dim, &elems)) in.bad("its dimensions multiply to more than 2^64");
    tensor.shape.insert(tensor.shape.begin(), dim);
  }
  uint32_t type = in.number<uint32_t>();
  info.offset = in.number<uint64_t>();
  tensor.format = find_format(type);
  if (!tensor.format) {
    const char* name = ggml_type_name(type);
    fail(VKMOE_ERROR_UNSUPPORTED, in.path, ": ", in.context, ": ggml type ", type, " (", name ? name : "unknown",
         ") is not supported");
  }
  const Format& format = *tensor.format;
  uint64_t k = dims ? tensor.shape.back() : 1;
  if (k % format.block_elems)
    in.bad("expected a row length that is a multiple of ", format.name, "'s block of ", format.block_elems,
           ", found ", k);
  if (!checked_mul(elems / format.block_elems, format.block_bytes, &tensor.size_bytes))
    in.bad("its size is more than 2^64 bytes");
  return info;
}

uint64_t read_alignment(Reader& in, const json& metadata) {
  in.context = "key 'general.alignment'";
  auto found = metadata.find("general.alignment");
  if (found == metadata.end()) return 32;
  uint64_t alignment = found->is_number_unsigned() ? found->get<uint64_t>() : 0;
  if (alignment < 8 || (alignment & (alignment - 1)) || alignment > uint64_t(1) << 31)
    in.bad("expected a power of two, 8 or more, found ", found->is_number() ? found->dump() : found->type_name());
  return alignment;
}

void check_overlap(const std::vector<TensorInfo>& infos, const std::string& path) {
  std::vector<const TensorInfo*> order;
  for (const TensorInfo& info : infos) order.push_back(&info);
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); i++) {
    const TensorInfo &a = *order[i - 1], &b = *order[i];
    if (b.offset - a.offset < a.tensor.size_bytes)
      fail(VKMOE_ERROR_BAD_FILE, path, ": tensor '", b.tensor.name, "' at offset ", b.offset,
           " overlaps tensor '", a.tensor.name, "' at offset ", a.offset, " with ", a.tensor.size_bytes, " bytes");
  }
}

}  // namespace

json read_gguf(const MappedFile& file, ModelFile& model) {
  Reader in(file);
  Header header = read_header(in);
  json metadata = read_metadata(in, header.kv_count, model);
  uint64_t alignment = read_alignment(in, metadata);

  std::vector<TensorInfo> infos;
  for (uint64_t i = 0; i < header.tensor_count; i++) {
    in.context = cat("tensor ", i, " of ", header.tensor_count);
    infos.push_back(read_tensor_info(in));
  }
  uint64_t data_at = round_up(in.at(), alignment);  // cannot overflow: a position in a file plus at most 2^31
  uint64_t data_bytes = file.size() > data_at ? file.size() - data_at : 0;
  for (TensorInfo& info : infos) {
    in.context = cat("tensor '", info.tensor.name, "'");
    if (info.offset % alignment)
      in.bad("expected an offset that is a multiple of ", alignment, ", found ", info.offset);
    if (info.offset > data_bytes || info.tensor.size_bytes > data_bytes - info.offset)
      in.bad("expected ", info.tensor.size_bytes, " bytes at offset ", info.offset, " of the data, which has ",
             data_bytes);
    info.tensor.data = file.data() + data_at + info.offset;
    info.tensor.file = &file;
  }
  check_overlap(infos, file.path());
  for (TensorInfo& info : infos) add_tensor(model, std::move(info.tensor), file.path());
  return metadata;
}

}  // namespace vkmoe
