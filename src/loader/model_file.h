// A model on disk, GGUF or Hugging Face folder, opened and checked: metadata, tensors, tokenizer source.
// Every length, offset, count and type of the files is checked here; callers may trust what they get.
#pragma once
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "loader/tensor.h"

namespace vkmoe {

struct IntegerArray {
  std::string dtype;  // "U8"
  std::vector<uint64_t> shape;
  const uint8_t* data;
  const MappedFile* file;
};

class ModelFile {
 public:
  enum class Kind { gguf, hugging_face };

  // A .gguf file, or a folder with config.json.
  static std::shared_ptr<ModelFile> open(const std::string& path);
  static std::shared_ptr<ModelFile> open_gguf(std::shared_ptr<MappedFile> file);

  Kind kind = Kind::gguf;
  std::string path;

  // GGUF: all key-values as one flat object ("llama.block_count": 32; arrays are JSON arrays; strings that are not
  // UTF-8 keep their bytes). Hugging Face: config.json.
  nlohmann::json metadata;
  mutable std::set<std::string> asked;  // keys of metadata that were looked for: those of others must not matter

  // GGUF only: keys in the file's order, each with its type and value as they lie in the (first) file.
  std::vector<std::pair<std::string, std::string_view>> gguf_values;

  // Hugging Face only; null where the file is missing.
  nlohmann::json tokenizer;          // tokenizer.json
  std::string sentencepiece;         // bytes of tokenizer.model; empty: none. Where tokenizer.json is there, it counts
  std::string tiktoken;              // bytes of tiktoken.model or hy.tiktoken, without a tokenizer.model; empty: none
  nlohmann::json tokenizer_config;   // tokenizer_config.json, with chat_template.jinja merged in as "chat_template"
  nlohmann::json generation_config;  // generation_config.json

  std::map<std::string, Tensor> tensors;
  std::map<std::string, IntegerArray> skipped;  // safetensors' integer arrays, which are no weights

  const Tensor* find(const std::string& name) const;

  // Fails with a message that names the file, the tensor, the expected shape and the one found.
  const Tensor& require(const std::string& name, const std::vector<uint64_t>& shape) const;

  std::vector<std::shared_ptr<MappedFile>> files;
};

}  // namespace vkmoe
