// safetensors: 8 bytes of header length, a JSON header, then the arrays. Called by model_file.cpp.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/numeric.h"
#include "loader/json_file.h"
#include "loader/model_parts.h"

namespace vkmoe {

using nlohmann::json;

namespace {

// The limit of the reference implementation.
constexpr uint64_t max_header_bytes = 100'000'000;

struct Dtype {
  const char* name;
  uint32_t bytes;
  bool weight;  // integers are no weights and are skipped
};
const Dtype dtypes[] = {{"F32", 4, true},  {"F16", 2, true},  {"BF16", 2, true}, {"F8_E4M3", 1, true}, {"BOOL", 1, false},
                        {"I8", 1, false},  {"U8", 1, false},  {"I16", 2, false}, {"U16", 2, false},
                        {"I32", 4, false}, {"U32", 4, false}, {"I64", 8, false}, {"U64", 8, false}};

const Dtype& find_dtype(const json& entry, const std::string& where) {
  const json* value = json_member(entry, "dtype");
  if (!value || !value->is_string()) fail(VKMOE_ERROR_BAD_FILE, where, ": expected a dtype, found none");
  const std::string& name = value->get_ref<const std::string&>();
  for (const Dtype& dtype : dtypes)
    if (name == dtype.name) return dtype;
  fail(VKMOE_ERROR_UNSUPPORTED, where, ": dtype ", json_excerpt(*value), " is not supported, only F32, F16, BF16 and F8_E4M3");
}

// An array of unsigned integers.
std::vector<uint64_t> numbers(const json& entry, const char* key, const std::string& where) {
  const json* value = json_member(entry, key);
  bool good = value && value->is_array();
  std::vector<uint64_t> result;
  for (size_t i = 0; good && i < value->size(); i++) {
    good = (*value)[i].is_number_unsigned();
    if (good) result.push_back((*value)[i].get<uint64_t>());
  }
  if (!good)
    fail(VKMOE_ERROR_BAD_FILE, where, ": expected '", key, "' to be an array of whole numbers, found ",
         value ? json_excerpt(*value) : "none");
  return result;
}

}  // namespace

void read_safetensors(const MappedFile& file, ModelFile& model) {
  const std::string& path = file.path();
  if (file.size() < 8)
    fail(VKMOE_ERROR_BAD_FILE, path, ": expected a header length of 8 bytes, found ", file.size(), " bytes in all");
  uint64_t header_bytes;
  std::memcpy(&header_bytes, file.data(), 8);
  if (header_bytes > file.size() - 8 || header_bytes > max_header_bytes)
    fail(VKMOE_ERROR_BAD_FILE, path, ": a header of ", header_bytes, " bytes, but the file has ", file.size() - 8,
         " after the header's length, and ", max_header_bytes, " is the most");
  json header = parse_json(file.data() + 8, header_bytes, path + " (header)", true);
  if (!header.is_object()) fail(VKMOE_ERROR_BAD_FILE, path, ": expected the header to be a JSON object");
  const uint8_t* data = file.data() + 8 + header_bytes;
  uint64_t data_bytes = file.size() - 8 - header_bytes;

  struct Range {
    uint64_t begin, end;
    const std::string* name;
  };
  std::vector<Range> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    std::string where = cat(path, ": tensor '", name, "'");
    if (!entry.is_object()) fail(VKMOE_ERROR_BAD_FILE, where, ": expected an object, found ", json_excerpt(entry));
    const Dtype& dtype = find_dtype(entry, where);
    Tensor tensor;
    tensor.name = name;
    tensor.shape = numbers(entry, "shape", where);
    if (tensor.shape.size() > 8)
      fail(VKMOE_ERROR_BAD_FILE, where, ": expected at most 8 dimensions, found ", tensor.shape.size());
    tensor.size_bytes = dtype.bytes;
    for (uint64_t dim : tensor.shape)
      if (!checked_mul(tensor.size_bytes, dim, &tensor.size_bytes))
        fail(VKMOE_ERROR_BAD_FILE, where, ": its shape ", shape_text(tensor.shape), " is more than 2^64 bytes");
    std::vector<uint64_t> offsets = numbers(entry, "data_offsets", where);
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data_bytes)
      fail(VKMOE_ERROR_BAD_FILE, where, ": expected data_offsets [begin, end] inside of ", data_bytes,
           " bytes of data, found ", json_excerpt(entry["data_offsets"]));
    if (offsets[1] - offsets[0] != tensor.size_bytes)
      fail(VKMOE_ERROR_BAD_FILE, where, ": expected ", tensor.size_bytes, " bytes for ", dtype.name, " ",
           shape_text(tensor.shape), ", found data_offsets of ", offsets[1] - offsets[0], " bytes");
    if (tensor.size_bytes) ranges.push_back({offsets[0], offsets[1], &name});
    tensor.data = data + offsets[0];
    tensor.file = &file;
    if (!dtype.weight) {
      model.skipped[name] = {dtype.name, tensor.shape, tensor.data, &file};
      continue;
    }
    tensor.format = find_format(dtype.name);
    uint64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (columns % tensor.format->block_elems)
      fail(VKMOE_ERROR_UNSUPPORTED, where, ": ", dtype.name, " with rows of ", columns, " values; expected a multiple of ",
           tensor.format->block_elems);
    add_tensor(model, std::move(tensor), path);
  }
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < ranges.size(); i++)
    if (ranges[i].begin < ranges[i - 1].end)
      fail(VKMOE_ERROR_BAD_FILE, path, ": tensor '", *ranges[i].name, "' at ", ranges[i].begin, " overlaps tensor '",
           *ranges[i - 1].name, "' that ends at ", ranges[i - 1].end);
}

// The blocks that scales of this shape stand for; those of the configuration where they fit.
static TensorScales read_scales(const ModelFile& model, const Tensor& tensor, const Tensor& scales) {
  uint64_t block[2] = {128, 128};
  const json* quantization = json_member(model.metadata, "quantization_config");
  const json* sizes = quantization ? json_member(*quantization, "weight_block_size") : nullptr;
  for (size_t i = 0; i < 2 && sizes && sizes->is_array() && sizes->size() == 2; i++)
    if ((*sizes)[i].is_number_unsigned() && (*sizes)[i] > 0) block[i] = (*sizes)[i].get<uint64_t>();
  uint64_t k = tensor.shape.back(), n = tensor.shape.size() > 1 ? tensor.shape[tensor.shape.size() - 2] : 1;
  uint64_t matrices = tensor.elems() / (n * k), count = scales.elems(), columns = 0;
  TensorScales found;
  if (count == matrices * ceil_div(n, block[0]) * ceil_div(k, block[1])) {
    columns = block[1];
    found.row_block = block[0];
  } else if (count == matrices * n || count == matrices || count == 1) {  // per row, per matrix
    columns = k;
    found.row_block = count == matrices * n ? 1 : n;
  }
  if (!columns || (columns % 128 && columns < k) || scales.format->block_elems != 1)
    fail(VKMOE_ERROR_UNSUPPORTED, model.path, ": tensor '", scales.name, "': expected float scales for blocks of ",
         block[0], " x ", block[1], ", rows or all of ", shape_text(tensor.shape), ", found ", scales.format->name, " ",
         shape_text(scales.shape));
  found.column_block = columns;
  found.values.resize(count);
  decode_row(*scales.format, scales.data, 0, count, found.values.data());
  if (count == 1) found.values.assign(matrices, found.values[0]);
  return found;
}

void attach_scales(ModelFile& model) {
  std::vector<std::string> used;
  for (auto& [name, tensor] : model.tensors) {
    if (tensor.format->ggml_type != no_ggml_type || tensor.elems() == 0) continue;
    const Tensor* scales = model.find(name + "_scale_inv");
    if (!scales) scales = model.find(name + "_scale");
    if (!scales)
      fail(VKMOE_ERROR_BAD_FILE, model.path, ": tensor '", name, "' is ", tensor.format->name, ", but its scales '", name,
           "_scale_inv' are missing");
    tensor.scales = std::make_shared<TensorScales>(read_scales(model, tensor, *scales));
    used.push_back(scales->name);
  }
  for (const std::string& name : used) model.tensors.erase(name);
}

}  // namespace vkmoe
