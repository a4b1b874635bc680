#include "loader/model_file.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "loader/json_file.h"
#include "loader/model_parts.h"

namespace vkmoe {

using nlohmann::json;
namespace fs = std::filesystem;

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); i++) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

void add_tensor(ModelFile& model, Tensor&& tensor, const std::string& path) {
  std::string name = tensor.name;
  if (!model.tensors.emplace(name, std::move(tensor)).second)
    fail(VKMOE_ERROR_BAD_FILE, path, ": tensor '", name, "' stands twice");
}

namespace {

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

uint64_t split_value(const json& metadata, const char* key, const std::string& path) {
  auto found = metadata.find(key);
  if (found == metadata.end()) return 0;
  if (!found->is_number_unsigned() || *found > 65535)
    fail(VKMOE_ERROR_BAD_FILE, path, ": key '", key, "': expected a whole number up to 65535, found ",
         json_excerpt(*found));
  return found->get<uint64_t>();
}

// "x-00002-of-00005.gguf" -> "x"; fails where the name does not look so.
std::string split_prefix(const std::string& path, uint64_t part, uint64_t parts) {
  char suffix[40];
  std::snprintf(suffix, sizeof suffix, "-%05u-of-%05u.gguf", unsigned(part), unsigned(parts));
  size_t length = std::char_traits<char>::length(suffix);
  if (path.size() < length || path.compare(path.size() - length, length, suffix) != 0)
    fail(VKMOE_ERROR_BAD_FILE, path, ": part ", part, " of a model split into ", parts,
         ": expected a name that ends with '", suffix, "'");
  return path.substr(0, path.size() - length);
}

// Opens all parts, whichever of them `path` is; metadata comes from the first.
void open_split(ModelFile& model, const std::string& path, uint64_t own_part, uint64_t parts) {
  std::string prefix = split_prefix(path, own_part, parts);
  decltype(model.gguf_values) first_values;
  for (uint64_t part = 1; part <= parts; part++) {
    char suffix[40];
    std::snprintf(suffix, sizeof suffix, "-%05u-of-%05u.gguf", unsigned(part), unsigned(parts));
    std::string name = prefix + suffix;
    if (!is_file(name))
      fail(VKMOE_ERROR_NOT_FOUND, name, ": part ", part, " of ", parts, " of the model is missing");
    auto file = MappedFile::open(name);
    model.gguf_values.clear();
    json metadata = read_gguf(*file, model);
    model.files.push_back(file);
    uint64_t no = split_value(metadata, "split.no", name), count = split_value(metadata, "split.count", name);
    if (no != part - 1 || count != parts)
      fail(VKMOE_ERROR_BAD_FILE, name, ": expected split.no ", part - 1, " and split.count ", parts, ", found ", no,
           " and ", count);
    if (part > 1) continue;
    model.metadata = std::move(metadata);
    first_values = std::move(model.gguf_values);
  }
  model.gguf_values = std::move(first_values);
}

// transformers' order: one file, then an index, then whatever there is.
std::vector<std::string> list_shards(const fs::path& folder, json& weight_map) {
  if (is_file(folder / "model.safetensors")) return {"model.safetensors"};
  std::vector<std::string> names;
  fs::path index_path = folder / "model.safetensors.index.json";
  if (is_file(index_path)) {
    json index = parse_json(*MappedFile::open(index_path.string()));
    const json* map = json_member(index, "weight_map");
    if (!map || !map->is_object() || map->empty())
      fail(VKMOE_ERROR_BAD_FILE, index_path.string(), ": expected an object 'weight_map', found none");
    for (const auto& [tensor, shard] : map->items()) {
      bool good = shard.is_string();
      if (good) {
        const std::string& name = shard.get_ref<const std::string&>();
        // A name with a folder in it could reach any file of the machine.
        good = !name.empty() && name.find_first_of(std::string("/\\:\0", 4)) == std::string::npos;
        if (good) names.push_back(name);
      }
      if (!good)
        fail(VKMOE_ERROR_BAD_FILE, index_path.string(), ": tensor '", tensor,
             "': expected the name of a file in the same folder, found ", json_excerpt(shard));
    }
    weight_map = *map;
  } else {
    std::error_code error;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
      if (it->path().extension() == ".safetensors") names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

json read_optional(const fs::path& path) {
  return is_file(path) ? parse_json(*MappedFile::open(path.string())) : json();
}

std::shared_ptr<ModelFile> open_folder(const std::string& path) {
  auto model = std::make_shared<ModelFile>();
  model->kind = ModelFile::Kind::hugging_face;
  model->path = path;
  fs::path folder(path), config = folder / "config.json";
  if (!is_file(config)) fail(VKMOE_ERROR_NOT_FOUND, config.string(), ": missing; a model folder needs it");
  model->metadata = parse_json(*MappedFile::open(config.string()));
  if (!model->metadata.is_object())
    fail(VKMOE_ERROR_BAD_FILE, config.string(), ": expected a JSON object, found ", json_excerpt(model->metadata));
  // A model of text and pictures keeps what its text model is in an object of its own.
  if (const json* text = json_member(model->metadata, "text_config"); text && text->is_object())
    model->metadata.update(json(*text));
  bool mxfp4 = false;
  if (const json* quantization = json_member(model->metadata, "quantization_config")) {
    const json *method = json_member(*quantization, "quant_method"), *format = json_member(*quantization, "format");
    mxfp4 = method && *method == "mxfp4";
    bool fp8 = method && (*method == "fp8" || (*method == "compressed-tensors" && format && *format == "float-quantized"));
    if (!mxfp4 && !fp8)
      fail(VKMOE_ERROR_UNSUPPORTED, config.string(), ": quantization_config with quant_method ",
           method ? json_excerpt(*method) : "missing", " is not supported, only fp8, mxfp4 and plain F32, F16 and BF16 weights");
  }
  model->tokenizer = read_optional(folder / "tokenizer.json");
  for (const char* name : {"tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "tiktoken.model", "hy.tiktoken"}) {
    if (!model->sentencepiece.empty() || !model->tiktoken.empty() || !is_file(folder / name)) continue;
    auto text = MappedFile::open((folder / name).string());
    bool tiktoken = std::string_view(name).find("tiktoken") != std::string_view::npos;
    (tiktoken ? model->tiktoken : model->sentencepiece).assign(text->data(), text->data() + text->size());
  }
  model->tokenizer_config = read_optional(folder / "tokenizer_config.json");
  model->generation_config = read_optional(folder / "generation_config.json");
  if (is_file(folder / "chat_template.jinja")) {
    auto text = MappedFile::open((folder / "chat_template.jinja").string());
    if (!model->tokenizer_config.is_object()) model->tokenizer_config = json::object();
    model->tokenizer_config["chat_template"] = std::string(text->data(), text->data() + text->size());
  }

  json weight_map;
  std::vector<std::string> shards = list_shards(folder, weight_map);
  if (shards.empty()) fail(VKMOE_ERROR_NOT_FOUND, path, ": no .safetensors file in this folder");
  for (const std::string& shard : shards) {
    std::string name = (folder / shard).string();
    if (!is_file(name)) fail(VKMOE_ERROR_NOT_FOUND, name, ": missing; the index names it");
    auto file = MappedFile::open(name);
    read_safetensors(*file, *model);
    model->files.push_back(file);
  }
  for (const auto& [tensor, shard] : weight_map.items())
    if (!model->find(tensor) && !model->skipped.count(tensor))
      fail(VKMOE_ERROR_BAD_FILE, (folder / shard.get<std::string>()).string(), ": tensor '", tensor,
           "' is missing; the index says that it is here");
  attach_scales(*model);
  if (mxfp4) join_mxfp4(*model);
  return model;
}

}  // namespace

std::shared_ptr<ModelFile> ModelFile::open(const std::string& path) {
  std::error_code error;
  fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) fail(VKMOE_ERROR_NOT_FOUND, path, ": no such file or folder");
  if (fs::is_directory(status)) return open_folder(path);
  auto file = MappedFile::open(path);
  auto model = std::make_shared<ModelFile>();
  model->path = path;
  model->metadata = read_gguf(*file, *model);
  uint64_t parts = split_value(model->metadata, "split.count", path);
  if (parts <= 1) {
    model->files.push_back(file);
    return model;
  }
  uint64_t part = split_value(model->metadata, "split.no", path) + 1;
  model->tensors.clear();
  open_split(*model, path, part, parts);
  return model;
}

std::shared_ptr<ModelFile> ModelFile::open_gguf(std::shared_ptr<MappedFile> file) {
  auto model = std::make_shared<ModelFile>();
  model->path = file->path();
  model->metadata = read_gguf(*file, *model);
  uint64_t parts = split_value(model->metadata, "split.count", model->path);
  if (parts > 1)
    fail(VKMOE_ERROR_UNSUPPORTED, model->path, ": one part of a model split into ", parts,
         "; a split model can only be opened by its path");
  model->files.push_back(std::move(file));
  return model;
}

const Tensor* ModelFile::find(const std::string& name) const {
  auto found = tensors.find(name);
  return found == tensors.end() ? nullptr : &found->second;
}

const Tensor& ModelFile::require(const std::string& name, const std::vector<uint64_t>& shape) const {
  const Tensor* tensor = find(name);
  if (!tensor) {
    auto other = skipped.find(name);
    if (other != skipped.end())
      fail(VKMOE_ERROR_UNSUPPORTED, path, ": tensor '", name, "': expected F32, F16 or BF16, found ", other->second.dtype);
    fail(VKMOE_ERROR_BAD_FILE, path, ": tensor '", name, "' with shape ", shape_text(shape), " is missing");
  }
  if (tensor->shape != shape)
    fail(VKMOE_ERROR_BAD_FILE, path, ": tensor '", name, "': expected shape ", shape_text(shape), ", found ",
         shape_text(tensor->shape));
  return *tensor;
}

}  // namespace vkmoe
