// What an architecture file provides, and helpers to read hyper-parameters with clear errors.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "moe/model_spec.h"

namespace vkmoe {

// Where a weight is found: names in a Hugging Face folder and in a GGUF. {L} is the layer, {E} the expert; a name
// without {E} for an expert weight is one (experts, n, k) tensor, or (experts, k, n) where it ends in ^T. '|' parts
// alternatives. Role X.bias is the bias of X; "(none)" is no weight.
struct WeightNames {
  const char* role;  // "q", "gate", ...: a member of LayerSpec or ModelSpec
  const char* hugging_face;
  const char* gguf;
};

// A released model of a family.
struct RealModel {
  const char* name;
  double billions, active_billions;  // parameters, and those that work for one token
};

struct Architecture {
  const char* name;
  const char* hugging_face;  // model_type; '|' parts several
  const char* gguf;          // general.architecture
  Hyper (*read)(const ModelFile& file);
  std::vector<WeightNames> weights;
  // For docs/models.md: what people have of it, the forms in which tests/moe/golden_test.cpp tries it, and where
  // transformers, llama.cpp or the release compute something else than vkmoe.
  std::vector<RealModel> models = {};
  const char* tried_as = "";
  const char* others_differ = "";
  bool gguf_interleaves = false;  // in a GGUF, rows of queries and keys are permuted for interleaved rotary pairs
  const Architecture* encoder = nullptr;  // of an encoder-decoder family, whose `weights` are the decoder's
};

// All of them, by name.
const std::vector<const Architecture*>& architectures();

// The architecture that a file says it has; VKMOE_ERROR_UNSUPPORTED where there is none of that name.
const Architecture& find_architecture(const ModelFile& file);

// The names of a role's weight, parted by '|'; "" where the architecture has none.
std::string weight_names(const Architecture& architecture, const std::string& role, ModelFile::Kind kind);

std::vector<std::string> split_at_bars(const std::string& all);

extern const Architecture dbrx_architecture, deepseek_architecture, dots1_architecture, ernie4_5_moe_architecture,
    glm4_moe_architecture, gpt_oss_architecture, granitemoe_architecture, grok_architecture, hunyuan_v1_moe_architecture,
    llama4_architecture, minimax_m2_architecture, mixtral_architecture, nllb_moe_architecture, phimoe_architecture,
    olmoe_architecture, qwen2_moe_architecture, qwen3_moe_architecture, switch_transformers_architecture;

// Names that nearly all families share (embedding, attention, norms), followed by a family's own.
std::vector<WeightNames> with_common(std::initializer_list<WeightNames> own);

// A key's name in config.json and in a GGUF's metadata; one name where both say the same or only one has it.
struct KeyNames {
  std::string hugging_face, gguf;
  KeyNames(const char* both) : hugging_face(both), gguf(both) {}
  KeyNames(const std::string& both) : hugging_face(both), gguf(both) {}
  KeyNames(const char* hugging_face, const char* gguf) : hugging_face(hugging_face), gguf(gguf) {}
};

// Typed access to config.json (prefix "outer." for the keys of an object in it) or GGUF metadata; every failure names file,
// key, expectation and what was found.
class Keys {
 public:
  // names: what the file calls a key.
  explicit Keys(const ModelFile& file, std::string prefix = "", std::map<std::string, std::string> names = {})
      : file_(file), prefix_(std::move(prefix)), names_(std::move(names)) {}
  // Of a GGUF: its keys that start with the prefix. Of a config.json: what is read by a pair of names is noted in
  // h.gguf_keys under its name in a GGUF, so that one line says how a value is read from both and written.
  Keys(const ModelFile& file, const std::string& gguf_prefix, Hyper& h, std::map<std::string, std::string> names = {})
      : Keys(file, file.kind == ModelFile::Kind::gguf ? gguf_prefix : "", std::move(names)) {
    if (!is_gguf()) note_ = &h;
    note_prefix_ = gguf_prefix;
  }

  bool has(const KeyNames& key) const;  // present and not null
  uint32_t u32(const KeyNames& key, uint32_t low, uint32_t high) const;
  uint32_t u32_or(const KeyNames& key, uint32_t fallback, uint32_t low, uint32_t high) const;
  double number(const KeyNames& key) const;
  double number_or(const KeyNames& key, double fallback) const;
  bool flag_or(const KeyNames& key, bool fallback) const;
  std::vector<float> numbers(const KeyNames& key) const;  // a list of numbers above 0; empty: no such key
  std::string text_or(const KeyNames& key, const std::string& fallback) const;
  // Notes a value that a GGUF has under this name and a config.json elsewhere or not at all.
  void note(const std::string& gguf_key, nlohmann::json value) const;
  // Fails with VKMOE_ERROR_UNSUPPORTED when a key is there and says something else. '|' parts several values.
  void expect_text(const KeyNames& key, const std::string& value) const;
  void expect_false(const KeyNames& key) const;
  [[noreturn]] void refuse(const KeyNames& key, const std::string& why) const;

 private:
  bool is_gguf() const { return file_.kind == ModelFile::Kind::gguf; }
  std::string full(const KeyNames& key) const;  // as in the file
  const nlohmann::json* find(const KeyNames& key) const;
  template <class T>
  T noted(const KeyNames& key, T value) const {
    if (key.gguf != key.hugging_face) note(key.gguf, value);
    return value;
  }
  const ModelFile& file_;
  std::string prefix_;
  std::map<std::string, std::string> names_;
  Hyper* note_ = nullptr;
  std::string note_prefix_;
};

struct CommonOptions {
  std::map<std::string, std::string> names = {};  // of config.json's keys, where a family has its own
  const char* activation = "silu";                // values that hidden_act may have
  double norm_epsilon = -1;                       // where a file need not name it
};

// Sizes and norms that all decoder families share, from either kind of file.
Hyper read_common(const ModelFile& file, const std::string& gguf_prefix, const CommonOptions& options = {});

// Fails with VKMOE_ERROR_UNSUPPORTED when the file sets a key that changes a model of some family and that its reader did
// not ask for.
void refuse_ignored(const ModelFile& file);

// Fails unless heads, rotary dimensions and factors, epsilon and theta are of use.
void check_attention_sizes(const ModelFile& file, const Hyper& h);

// The ids that a decoder's text begins with, from generation_config.json or config.json; its start token is start unless
// they say otherwise.
void set_decoder_prompt(const ModelFile& file, Hyper& h, uint32_t start);

// Sigmoid, selection bias, groups, renormalised, scaled (DeepSeek-V3, and its followers in transformers).
GateRule sigmoid_bias_top_k(uint32_t n_experts, uint32_t top_k, bool renormalize, float scale);

// Groups of experts (n_group, topk_group), by the sum of their two best; fails where they leave fewer than top_k.
void read_groups(const Keys& keys, GateRule& rule);

// Which layers have windowed or chunked attention: layer_types of config.json, whose other layers are "full_attention"
// (kind: what these are called), or GGUF's sliding_window_pattern. Without either, all but each period-th.
std::vector<bool> local_layers(const ModelFile& file, const std::string& gguf_prefix, const std::string& kind,
                               uint32_t n_layers, uint32_t period);

// Biases of queries, keys, values and what they give, where config.json's key says so; a GGUF has them or not.
void read_attention_bias(const ModelFile& file, const Keys& keys, Hyper& h, const char* key = "attention_bias");

// Every decoder_sparse_step-th layer has experts, but for mlp_only_layers (config.json of Qwen's models).
void set_sparse_layers(const ModelFile& file, const Keys& keys, Hyper& h);

// Layers below this have no experts.
void set_first_dense(Hyper& h, uint32_t n_dense);

// Softmax over all experts, top-k, weights optionally renormalised (Mixtral, Qwen).
GateRule softmax_top_k(uint32_t n_experts, uint32_t top_k, bool renormalize);

}  // namespace vkmoe
