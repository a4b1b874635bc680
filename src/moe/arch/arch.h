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
  const Architecture* encoder = nullptr;  // of an encoder-decoder family, whose `weights` are the decoder's
};

// All of them, by name.
const std::vector<const Architecture*>& architectures();

std::vector<std::string> split_at_bars(const std::string& all);

extern const Architecture dbrx_architecture, deepseek_architecture, dots1_architecture, ernie4_5_moe_architecture,
    glm4_moe_architecture, gpt_oss_architecture, granitemoe_architecture, grok_architecture, hunyuan_v1_moe_architecture,
    llama4_architecture, minimax_m2_architecture, mixtral_architecture, nllb_moe_architecture, phimoe_architecture,
    olmoe_architecture, qwen2_moe_architecture, qwen3_moe_architecture, switch_transformers_architecture;

// Names that nearly all families share (embedding, attention, norms), followed by a family's own.
std::vector<WeightNames> with_common(std::initializer_list<WeightNames> own);

// Typed access to config.json (prefix "outer." for the keys of an object in it) or GGUF metadata; every failure names file, key, expectation and what was found.
class Keys {
 public:
  // names: what the file calls a key.
  explicit Keys(const ModelFile& file, std::string prefix = "", std::map<std::string, std::string> names = {})
      : file_(file), prefix_(std::move(prefix)), names_(std::move(names)) {}
  bool has(const std::string& key) const;  // present and not null
  uint32_t u32(const std::string& key, uint32_t low, uint32_t high) const;
  uint32_t u32_or(const std::string& key, uint32_t fallback, uint32_t low, uint32_t high) const;
  double number(const std::string& key) const;
  double number_or(const std::string& key, double fallback) const;
  bool flag_or(const std::string& key, bool fallback) const;
  std::vector<float> numbers(const std::string& key) const;  // a list of numbers above 0; empty: no such key
  std::string text_or(const std::string& key, const std::string& fallback) const;
  // Fails with VKMOE_ERROR_UNSUPPORTED when a key is there and says something else. '|' parts several values.
  void expect_text(const std::string& key, const std::string& value) const;
  void expect_false(const std::string& key) const;
  [[noreturn]] void refuse(const std::string& key, const std::string& why) const;

 private:
  std::string full(const std::string& key) const;
  const nlohmann::json* find(const std::string& key) const;
  const ModelFile& file_;
  std::string prefix_;
  std::map<std::string, std::string> names_;
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

// Fails unless heads, rotary dimensions, epsilon and theta are of use.
void check_attention_sizes(const ModelFile& file, const Hyper& h);

// The ids that a decoder's text begins with, from generation_config.json or config.json; its start token is start unless
// they say otherwise.
void set_decoder_prompt(const ModelFile& file, Hyper& h, uint32_t start);

// Sigmoid, selection bias, groups, renormalised, scaled (DeepSeek-V3, and its followers in transformers).
GateRule sigmoid_bias_top_k(uint32_t n_experts, uint32_t top_k, bool renormalize, float scale);

// Groups of experts (n_group, topk_group), by the sum of their two best; fails where they leave fewer than top_k.
void read_groups(const ModelFile& file, const Keys& keys, GateRule& rule);

// Which layers have windowed or chunked attention: layer_types of config.json, whose other layers are "full_attention"
// (kind: what these are called), or GGUF's sliding_window_pattern. Without either, all but each period-th.
std::vector<bool> local_layers(const ModelFile& file, const std::string& gguf_prefix, const std::string& kind,
                               uint32_t n_layers, uint32_t period);

// Layers below this have no experts.
void set_first_dense(Hyper& h, uint32_t n_dense);

// Softmax over all experts, top-k, weights optionally renormalised (Mixtral, Qwen).
GateRule softmax_top_k(uint32_t n_experts, uint32_t top_k, bool renormalize);

}  // namespace vkmoe
