// A Hugging Face folder as a GGUF: names from the architecture's table, keys as its reader noted them (Keys), tensors
// by their roles. What was planned is read again before anything is written.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "loader/tokenizer_export.h"
#include "moe/arch/arch.h"
#include "moe/quantize.h"

namespace vkmoe {
namespace {

class Exporter {
 public:
  explicit Exporter(std::shared_ptr<ModelFile> file)
      : file_(*file), architecture_(find_architecture(*file)), spec_(read_model_spec(file)) {}

  GgufPlan plan() {
    if (!*architecture_.gguf)
      fail(VKMOE_ERROR_UNSUPPORTED, file_.path, ": GGUF has no architecture for models of the kind ", architecture_.name);
    add_keys();
    for (const NamedWeight& weight : spec_.weights) add_weight(weight);
    for (const auto& [name, tensor] : file_.tensors) {
      bool known = used_.count(&tensor) || name.ends_with("rotary_emb.inv_freq") || (spec_.tied_head && is_head(name));
      if (!known) plan_.left_out.push_back(name);
    }
    check();
    return std::move(plan_);
  }

 private:
  void add_keys() {
    const std::string names = architecture_.gguf, gguf = names.substr(0, names.find('|'));
    set("general.architecture", gguf);
    set("general.type", "model");
    std::filesystem::path folder = std::filesystem::absolute(file_.path).lexically_normal();
    set("general.name", (folder.has_filename() ? folder : folder.parent_path()).filename().string());
    for (const auto& [key, value] : spec_.hyper.gguf_keys) set(key, value);
    const Hyper& h = spec_.hyper;
    set(gguf + ".vocab_size", h.vocab);
    set(gguf + ".rope.freq_base", h.rope_theta);
    set(gguf + ".rope.dimension_count", h.rotary_dim);
    if (h.gate.score == SCORE_SIGMOID) set(gguf + ".expert_gating_func", 2u);  // llama.cpp's number
    add_rope_scaling(gguf + ".rope.scaling.", h);
    set_tokenizer(file_, spec_.hyper.vocab, plan_.header);
  }

  // Factors of the pairs, as a tensor where the family's GGUFs have it; without, same_rotation() will tell.
  void add_factors(const char* role, const std::vector<double>& from, const std::vector<double>& to) {
    const std::string name = weight_names(architecture_, role, ModelFile::Kind::gguf);
    if (name.empty()) return;
    MadeTensor& made = plan_.made.emplace_back();
    for (size_t i = 0; i < from.size(); i++) made.values.push_back(float(from[i] / to[i]));
    uint64_t n = made.values.size();
    made.tensor = {name, find_format(std::string("F32")), {n}, reinterpret_cast<const uint8_t*>(made.values.data()),
                   4 * n, nullptr, nullptr};
    plan_.tensors.push_back({name, {n}, {1, uint32_t(n), {{{&made.tensor, 0, 1, 1}}}, {}}});
  }

  void add_rope_scaling(const std::string& prefix, const Hyper& h) {
    const RopeScaling& scaling = h.rope_scaling;
    auto frequencies = [&](const RopeScaling& rule, double context) {
      return rope_frequencies(rule, h.rope_theta, h.rotary_dim, uint32_t(context));
    };
    if (scaling.type == RopeScaling::Type::llama3)
      add_factors("rope_freqs", frequencies({}, 0), frequencies(scaling, h.context_tokens));
    if (scaling.type == RopeScaling::Type::longrope) {
      add_factors("rope_factors_long", frequencies({}, 0), frequencies(scaling, scaling.original_context + 1));
      add_factors("rope_factors_short", frequencies({}, 0), frequencies(scaling, scaling.original_context));
      set(prefix + "attn_factor", scaling.attention_factor);
    }
    if (scaling.type != RopeScaling::Type::linear && scaling.type != RopeScaling::Type::yarn) return;
    bool yarn = scaling.type == RopeScaling::Type::yarn;
    set(prefix + "type", yarn ? "yarn" : "linear");
    set(prefix + "factor", scaling.factor);
    if (!yarn) return;
    set(prefix + "original_context_length", uint32_t(scaling.original_context));
    set(prefix + "yarn_beta_fast", scaling.beta_fast);
    set(prefix + "yarn_beta_slow", scaling.beta_slow);
    if (scaling.mscale_all_dim != 0) set(prefix + "yarn_log_multiplier", 0.1 * scaling.mscale_all_dim);
    double inferred = scaling.mscale_all_dim != 0 ? 1 : yarn_mscale(scaling.factor, 1);
    if (scaling.attention_factor != inferred) set(prefix + "yarn_attn_factor", scaling.attention_factor);
  }

  // Keys keep numbers in float32, and a rule may be said in more than one way: what counts is what it does.
  static bool same_rotation(const Hyper& a, const Hyper& b) {
    auto near = [](double x, double y) { return std::fabs(x - y) <= 1e-6 * std::fabs(y); };
    for (uint32_t context : {uint32_t(a.rope_scaling.original_context), a.context_tokens}) {
      auto fa = rope_frequencies(a.rope_scaling, a.rope_theta, a.rotary_dim, context);
      auto fb = rope_frequencies(b.rope_scaling, b.rope_theta, b.rotary_dim, context);
      double factor_a = rope_attention_factor(a.rope_scaling, context);
      double factor_b = rope_attention_factor(b.rope_scaling, context);
      if (!std::equal(fa.begin(), fa.end(), fb.begin(), fb.end(), near) || !near(factor_a, factor_b)) return false;
    }
    return a.rope_scaling.type != RopeScaling::Type::dynamic && near(a.attention_scale, b.attention_scale);
  }

  void set(const std::string& key, const nlohmann::json& value) {
    plan_.header.set(key, value);
    metadata_[key] = value.is_number_float() ? nlohmann::json(value.get<float>()) : value;
  }

  // "" where a GGUF has no name for it.
  std::string name(const std::string& role, uint32_t layer) const {
    std::string names = weight_names(architecture_, role, ModelFile::Kind::gguf), first = names.substr(0, names.find('|'));
    size_t at = first.find("{L}");
    if (at != std::string::npos) first.replace(at, 3, std::to_string(layer));
    return first == "(none)" || first.find("{E}") != std::string::npos ? "" : first;
  }

  void add_weight(const NamedWeight& weight) {
    // llama.cpp's converter parts what is fused in a Hugging Face folder.
    const LayerSpec& layer = spec_.layers[weight.layer];
    if (weight.role == "gate_up_interleaved.bias") {
      add_bias(name("gate.bias", weight.layer), layer.gate);
      return add_bias(name("up.bias", weight.layer), layer.up);
    }
    if (weight.role == "gate_up" || weight.role == "shared_gate_up" || weight.role == "gate_up_interleaved") {
      bool shared = weight.role[0] == 's';
      add(weight, shared ? "shared_gate" : "gate", shared ? layer.shared_gate : layer.gate);
      return add(weight, shared ? "shared_up" : "up", shared ? layer.shared_up : layer.up);
    }
    if (weight.role == "kv_b") return add_latent(weight.layer);
    add(weight, weight.role, weight.rows);
  }

  // llama.cpp multiplies queries by keys' part and what attention gives by values' part, head by head, as vkmoe does.
  void add_latent(uint32_t layer) {
    const Matrix &k = spec_.layers[layer].k_b, &v = spec_.layers[layer].v_b;
    plan_.tensors.push_back(
        {.name = name("k_b", layer), .shape = {k.experts.size(), k.k, k.n}, .rows = k, .transposed = true});
    plan_.tensors.push_back({.name = name("v_b", layer), .shape = {v.experts.size(), v.n, v.k}, .rows = v});
    used_.insert(k.experts[0][0].tensor);
  }

  // Of experts, whose values lie apart: each is a row of one, first_row counts values (Matrix::Span).
  void add_bias(const std::string& name, const Matrix& weight) {
    Matrix values{weight.n, 1, weight.bias, {}};
    for (auto& spans : values.experts) {
      spans[0].column_step = 1;
      used_.insert(spans[0].tensor);
    }
    plan_.tensors.push_back({name, {values.experts.size(), weight.n}, values});
  }

  void add(const NamedWeight& weight, const std::string& role, const Matrix& rows) {
    GgufTensor tensor{name(role, weight.layer), {rows.n, rows.k}, rows, interleaved(role) ? spec_.hyper.head_dim : 0};
    if (tensor.name.empty() || (weight.vector && tensor.interleave_head))
      fail(VKMOE_ERROR_UNSUPPORTED, file_.path, ": the weight '", role, "' of ", architecture_.name,
           " has no place in a GGUF");
    if (weight.vector) tensor.shape = {rows.k};
    if (weight.experts) tensor.shape.insert(tensor.shape.begin(), rows.experts.size());
    for (const auto& spans : rows.experts)
      for (const auto& span : spans) used_.insert(span.tensor);
    plan_.tensors.push_back(std::move(tensor));
  }

  bool interleaved(const std::string& role) const {
    return architecture_.gguf_interleaves && (role == "q" || role == "k" || role == "q.bias" || role == "k.bias");
  }

  bool is_head(const std::string& name) const {
    return name == weight_names(architecture_, "head", ModelFile::Kind::hugging_face);
  }

  // A model with something that no key of a GGUF says would be read as another.
  void check() const {
    auto again = std::make_shared<ModelFile>();
    again->path = file_.path + " as a GGUF";
    again->metadata = metadata_;
    for (const GgufTensor& tensor : plan_.tensors)
      again->tensors[tensor.name] = {tensor.name, &tensor.rows.format(), tensor.shape, nullptr, 0, nullptr, nullptr};
    for (const MadeTensor& made : plan_.made) again->tensors[made.tensor.name] = made.tensor;
    Hyper read, expected = spec_.hyper;
    try {
      read = read_model_spec(again).hyper;
    } catch (const Error& error) {
      fail(VKMOE_ERROR_UNSUPPORTED, file_.path, ": models of this kind cannot be written to a GGUF: ", error.what());
    }
    expected.gguf_keys.clear();
    bool rotation = same_rotation(expected, read);
    read.rope_theta = expected.rope_theta;
    read.rope_scaling = expected.rope_scaling;
    read.attention_scale = expected.attention_scale;
    if (architecture_.gguf_interleaves) read.rope_interleaved = expected.rope_interleaved;
    expected.biased = read.biased;  // by role: each that was found has its place
    if (!expected.dense_ff || !read.dense_ff) read.dense_ff = expected.dense_ff;  // in files without dense layers
    if (!rotation || read != expected)
      fail(VKMOE_ERROR_UNSUPPORTED, file_.path, ": a GGUF of the architecture ", architecture_.gguf,
           " cannot say all of this model's hyper-parameters");
  }

  const ModelFile& file_;
  const Architecture& architecture_;
  ModelSpec spec_;
  GgufPlan plan_;
  nlohmann::json metadata_ = nlohmann::json::object();
  std::set<const Tensor*> used_;
};

}  // namespace

GgufPlan plan_from_hugging_face(std::shared_ptr<ModelFile> file) { return Exporter(std::move(file)).plan(); }

}  // namespace vkmoe
