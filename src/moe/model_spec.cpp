#include "moe/model_spec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "moe/arch/arch.h"

namespace vkmoe {

const Architecture& find_architecture(const ModelFile& file) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  const char* key = gguf ? "general.architecture" : "model_type";
  auto at = file.metadata.find(key);
  if (at == file.metadata.end() || !at->is_string())
    fail(VKMOE_ERROR_BAD_FILE, file.path, ": key ", key, " is missing or no string: this is no language model");
  std::string found = at->get<std::string>(), known;
  for (const Architecture* a : architectures()) {
    for (const std::string& name : split_at_bars(gguf ? a->gguf : a->hugging_face)) {
      if (name.empty()) continue;  // the family has no such files
      if (name == found) return *a;
      known += (known.empty() ? "" : ", ") + name;
    }
  }
  fail(VKMOE_ERROR_UNSUPPORTED, file.path, ": ", key, " = \"", found.substr(0, 60),
       "\" is not supported: expected one of ", known);
}

std::string weight_names(const Architecture& architecture, const std::string& role, ModelFile::Kind kind) {
  std::string names;
  for (const WeightNames& w : architecture.weights)
    if (role == w.role) names = kind == ModelFile::Kind::gguf ? w.gguf : w.hugging_face;
  return names;
}

namespace {

std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

constexpr std::string_view no_name = "(none)";
constexpr std::string_view transposed_mark = "^T";  // ends the name of a tensor that is stored as (experts, k, n)

// Finds the tensors of one architecture by role.
class Finder {
 public:
  // Notes in `found` what it hands out.
  Finder(const ModelFile& file, const Architecture& architecture, const Hyper& h, std::vector<NamedWeight>& found)
      : file_(file), biased_(h.biased), found_(found) {
    for (const WeightNames& w : architecture.weights)
      names_[w.role] = file.kind == ModelFile::Kind::gguf ? w.gguf : w.hugging_face;
    const std::string of_text = "language_model.";  // in a model of text and pictures
    if (file.find(of_text + names_.at("embedding"))) prefix_ = of_text;
  }

  // The architecture has such a weight in this kind of file.
  bool knows(const std::string& role) const {
    auto at = names_.find(role);
    return at != names_.end() && at->second != no_name;
  }

  // The file has it, in this layer.
  bool has(const std::string& role, uint32_t layer = 0) const {
    if (!knows(role)) return false;
    for (const std::string& name : alternatives(role, layer))
      if (file_.find(stored_name(name))) return true;
    return false;
  }

  // The tensor of a role that no layer has its own of; nullptr when the file lacks it.
  const Tensor* tensor(const std::string& role) const { return file_.find(name_of(role, 0)); }

  const Tensor* vector(const std::string& role, uint32_t layer, uint64_t n) const {
    const std::string name = name_of(role, layer);
    const Tensor* found = file_.find(name);
    bool row = found && found->shape == std::vector<uint64_t>{1, n};  // (1, n) is as good
    const Tensor& tensor = plain(row ? *found : file_.require(name, {n}));
    found_.push_back({role, layer, {1, uint32_t(n), {{{&tensor, 0, 1, 1}}}, {}}, true, false});
    return &tensor;
  }

  // A norm of the residual stream, with LayerNorm's bias where the model has one.
  NormSpec norm(const std::string& role, uint32_t layer, const Hyper& h) const {
    return {vector(role, layer, h.hidden), h.norm_bias ? vector(role + ".bias", layer, h.hidden) : nullptr};
  }

  Matrix matrix(const std::string& role, uint32_t layer, uint64_t n, uint64_t k) const {
    const std::string name = name_of(role, layer);
    const Tensor* found = file_.find(name);
    bool one_row = n == 1 && found && found->shape == std::vector<uint64_t>{k};  // as GGUF keeps it
    const Tensor& tensor = one_row ? *found : file_.require(name, {n, k});
    Matrix made{uint32_t(n), uint32_t(k), {{{&tensor, 0, uint32_t(n), 1}}}, {}};
    found_.push_back({role, layer, made, false, false});
    if (biased_.count(role)) made.bias = bias(role, layer, n);
    return made;
  }

  std::vector<std::vector<Matrix::Span>> bias(const std::string& role, uint32_t layer, uint64_t n) const {
    return {{{vector(role + ".bias", layer, n), 0, uint32_t(n), 1}}};
  }

  Matrix experts(const std::string& role, uint32_t layer, uint64_t n_experts, uint64_t n, uint64_t k) const {
    Matrix made{uint32_t(n), uint32_t(k), {}, {}};
    std::string name = name_of(role, layer);
    bool transposed = name.ends_with(transposed_mark);
    if (transposed) name.resize(name.size() - transposed_mark.size());
    bool fused = name.find("{E}") == std::string::npos;
    const Tensor* whole = nullptr;
    if (fused) {
      uint64_t rows = transposed ? k : n, columns = transposed ? n : k;
      whole = file_.find(name);  // all experts' rows in one matrix are as good
      if (!whole || whole->shape != std::vector{n_experts * rows, columns})
        whole = &file_.require(name, {n_experts, rows, columns});
    }
    if (transposed) plain(*whole);
    for (uint64_t e = 0; e < n_experts; ++e) {
      const Tensor* tensor = fused ? whole : &file_.require(replace_all(name, "{E}", std::to_string(e)), {n, k});
      if (transposed) made.experts.push_back({{tensor, e * n * k, uint32_t(n), 1, uint32_t(n)}});
      else made.experts.push_back({{tensor, fused ? e * n : 0, uint32_t(n), 1}});
    }
    found_.push_back({role, layer, made, false, true});
    if (biased_.count(role)) {
      const std::string bias = name_of(role + ".bias", layer);
      bool apart = bias.find("{E}") != std::string::npos;
      const Tensor* all = apart ? nullptr : &plain(file_.require(bias, {n_experts, n}));
      if (all)
        found_.push_back({role + ".bias", layer, {uint32_t(n_experts), uint32_t(n), {{{all, 0, uint32_t(n_experts), 1}}}, {}},
                          false, false});
      for (uint64_t e = 0; e < n_experts; ++e) {
        const Tensor* one = apart ? &plain(file_.require(replace_all(bias, "{E}", std::to_string(e)), {n})) : all;
        made.bias.push_back({{one, apart ? 0 : e * n, uint32_t(n), 1}});
      }
    }
    return made;
  }

 private:
  // A weight's name in the file, or that of its first expert.
  static std::string stored_name(std::string name) {
    if (name.ends_with(transposed_mark)) name.resize(name.size() - transposed_mark.size());
    return replace_all(name, "{E}", "0");
  }

  // The tensor, if its values stand alone.
  const Tensor& plain(const Tensor& tensor) const {
    if (tensor.format->block_elems != 1)
      fail(VKMOE_ERROR_UNSUPPORTED, file_.path, ": tensor ", tensor.name, ": expected F32, F16 or BF16, found ",
           tensor.format->name);
    return tensor;
  }

  std::vector<std::string> alternatives(const std::string& role, uint32_t layer) const {
    auto found = names_.find(role);
    if (found == names_.end())  // settings of another family, as a kv_lora_rank
      fail(VKMOE_ERROR_UNSUPPORTED, file_.path, ": the settings ask for the weights ", role,
           ", which are not known of its architecture");
    std::vector<std::string> names = split_at_bars(replace_all(found->second, "{L}", std::to_string(layer)));
    for (std::string& name : names) name = prefix_ + name;
    return names;
  }

  // The first of a role's names that the file has, with {E} and ^T; the first of all where it has none.
  std::string name_of(const std::string& role, uint32_t layer) const {
    std::vector<std::string> names = alternatives(role, layer);
    for (const std::string& name : names)
      if (file_.find(stored_name(name))) return name;
    return names[0];
  }

  const ModelFile& file_;
  const std::set<std::string>& biased_;
  std::vector<NamedWeight>& found_;
  std::string prefix_;  // of all names
  std::map<std::string, std::string> names_;
};

// Rows first_row, first_row + step, ... (n of them) of every expert of a matrix of one span each.
Matrix slice(const Matrix& whole, uint32_t first_row, uint32_t n, uint32_t step = 1) {
  Matrix part{n, whole.k, whole.experts, whole.bias};
  for (auto* all : {&part.experts, &part.bias}) {
    for (auto& spans : *all) {
      spans[0].first_row += first_row;
      spans[0].rows = n;
      spans[0].row_step = step;
    }
  }
  return part;
}

void read_shared_expert(const Finder& find, const Hyper& h, uint32_t layer, LayerSpec& spec) {
  if (find.has("shared_gate_up", layer) || !find.knows("shared_gate")) {
    Matrix both = find.matrix("shared_gate_up", layer, 2 * h.shared_ff, h.hidden);
    spec.shared_gate = slice(both, 0, h.shared_ff);
    spec.shared_up = slice(both, h.shared_ff, h.shared_ff);
  } else {
    spec.shared_gate = find.matrix("shared_gate", layer, h.shared_ff, h.hidden);
    spec.shared_up = find.matrix("shared_up", layer, h.shared_ff, h.hidden);
  }
  spec.shared_down = find.matrix("shared_down", layer, h.hidden, h.shared_ff);
  if (find.knows("shared_router")) spec.shared_router = find.matrix("shared_router", layer, 1, h.hidden);
}

// Rows of each head of a matrix that stands for all: heads * head_rows rows, of which n from first_row on.
Matrix per_head(const Matrix& whole, uint32_t heads, uint32_t head_rows, uint32_t first_row, uint32_t n) {
  Matrix made{n, whole.k, {}};
  for (uint32_t head = 0; head < heads; ++head)
    made.experts.push_back({{whole.experts[0][0].tensor, uint64_t(head) * head_rows + first_row, n, 1}});
  return made;
}

void read_latent_attention(const Finder& find, const Hyper& h, uint32_t layer, LayerSpec& spec) {
  const LatentAttention& l = h.latent;
  uint32_t q_rows = h.n_heads * (l.nope_dim + h.rotary_dim), kv_rows = l.nope_dim + l.value_dim;
  if (l.q_rank) {
    spec.q_a = find.matrix("q_a", layer, l.q_rank, h.hidden);
    spec.q_a_norm = find.vector("q_a_norm", layer, l.q_rank);
  }
  spec.q = find.matrix(l.q_rank ? "q_b" : "q", layer, q_rows, l.q_rank ? l.q_rank : h.hidden);
  spec.kv_a = find.matrix("kv_a", layer, l.kv_rank + h.rotary_dim, h.hidden);
  spec.kv_a_norm = find.vector("kv_a_norm", layer, l.kv_rank);
  spec.k_b_transposed = find.has("k_b", layer);
  if (spec.k_b_transposed) {
    spec.k_b = find.experts("k_b", layer, h.n_heads, l.kv_rank, l.nope_dim);
    spec.v_b = find.experts("v_b", layer, h.n_heads, l.value_dim, l.kv_rank);
  } else {
    Matrix both = find.matrix("kv_b", layer, uint64_t(h.n_heads) * kv_rows, l.kv_rank);
    spec.k_b = per_head(both, h.n_heads, kv_rows, 0, l.nope_dim);
    spec.v_b = per_head(both, h.n_heads, kv_rows, l.nope_dim, l.value_dim);
  }
  spec.o = find.matrix("o", layer, h.hidden, h.attended_dim());
}

void read_attention(const Finder& find, const Hyper& h, uint32_t layer, LayerSpec& spec) {
  uint64_t head = h.head_dim, hidden = h.hidden;
  if (find.knows("sinks")) spec.sinks = find.vector("sinks", layer, h.n_heads);
  if (h.qk_norm != QK_NORM_NONE && h.qk_norm_weights) {
    bool full = h.qk_norm == QK_NORM_FULL;
    spec.q_norm = find.vector("q_norm", layer, full ? h.n_heads * head : head);
    spec.k_norm = find.vector("k_norm", layer, full ? h.n_kv_heads * head : head);
  }
  if (find.has("qkv", layer) || !find.knows("q")) {
    uint32_t n_q = h.n_heads * h.head_dim, n_k = h.n_kv_heads * h.head_dim;
    Matrix all = find.matrix("qkv", layer, uint64_t(n_q) + 2 * n_k, hidden);
    spec.q = slice(all, 0, n_q);
    spec.k = slice(all, n_q, n_k);
    spec.v = slice(all, n_q + n_k, n_k);
  } else {
    spec.q = find.matrix("q", layer, h.n_heads * head, hidden);
    spec.k = find.matrix("k", layer, h.n_kv_heads * head, hidden);
    spec.v = find.matrix("v", layer, h.n_kv_heads * head, hidden);
  }
  spec.o = find.matrix("o", layer, hidden, h.n_heads * head);
}

LayerSpec read_layer(const Finder& find, const Hyper& h, uint32_t layer) {
  uint64_t hidden = h.hidden;
  LayerSpec spec;
  spec.attention_norm = find.norm("attention_norm", layer, h);
  spec.ffn_norm = find.norm("ffn_norm", layer, h);
  if (h.post_norms) {
    spec.attention_post_norm = find.norm("attention_post_norm", layer, h);
    spec.ffn_post_norm = find.norm("ffn_post_norm", layer, h);
  }
  if (h.latent.kv_rank) read_latent_attention(find, h, layer, spec);
  else read_attention(find, h, layer, spec);
  if (h.cross_attention) {
    spec.cross_norm = find.norm("cross_norm", layer, h);
    spec.cross_q = find.matrix("cross_q", layer, h.n_heads * h.head_dim, hidden);
    spec.cross_k = find.matrix("cross_k", layer, h.n_kv_heads * h.head_dim, hidden);
    spec.cross_v = find.matrix("cross_v", layer, h.n_kv_heads * h.head_dim, hidden);
    spec.cross_o = find.matrix("cross_o", layer, hidden, h.n_heads * h.head_dim);
  }
  if (h.layer_has_experts[layer]) {
    spec.router = find.matrix("router", layer, h.n_experts, hidden);
    if (find.knows("gate_up_interleaved")) {
      Matrix both = find.experts("gate_up_interleaved", layer, h.n_experts, 2 * h.expert_ff, hidden);
      spec.gate = slice(both, 0, h.expert_ff, 2);
      spec.up = slice(both, 1, h.expert_ff, 2);
    } else if (find.has("gate_up", layer) || !find.knows("gate")) {
      Matrix both = find.experts("gate_up", layer, h.n_experts, 2 * h.expert_ff, hidden);
      spec.gate = slice(both, 0, h.expert_ff);
      spec.up = slice(both, h.expert_ff, h.expert_ff);
    } else {
      spec.gate = find.experts("gate", layer, h.n_experts, h.expert_ff, hidden);
      if (h.gated) spec.up = find.experts("up", layer, h.n_experts, h.expert_ff, hidden);
    }
    spec.down = find.experts("down", layer, h.n_experts, hidden, h.expert_ff);
    if (h.gate.has_bias) spec.router_bias = find.vector("router_bias", layer, h.n_experts);
    if (h.shared_ff) read_shared_expert(find, h, layer, spec);
  } else {
    spec.gate = find.matrix("dense_gate", layer, h.dense_ff, hidden);
    if (h.gated) spec.up = find.matrix("dense_up", layer, h.dense_ff, hidden);
    spec.down = find.matrix("dense_down", layer, hidden, h.dense_ff);
  }
  return spec;
}

}  // namespace

const std::vector<const Architecture*>& architectures() {
  static const std::vector<const Architecture*> all = {
      &dbrx_architecture, &deepseek_architecture, &dots1_architecture, &ernie4_5_moe_architecture,
      &glm4_moe_architecture, &gpt_oss_architecture, &granitemoe_architecture, &grok_architecture,
      &hunyuan_v1_moe_architecture, &llama4_architecture, &minimax_m2_architecture,
      &mixtral_architecture, &nllb_moe_architecture, &olmoe_architecture, &phimoe_architecture,
      &qwen2_moe_architecture, &qwen3_moe_architecture, &switch_transformers_architecture
  };
  return all;
}

std::vector<std::string> split_at_bars(const std::string& all) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= all.size();) {
    size_t bar = std::min(all.find('|', at), all.size());
    parts.push_back(all.substr(at, bar - at));
    at = bar + 1;
  }
  return parts;
}

bool Matrix::one_format() const {
  for (const auto& spans : experts)
    for (const Span& span : spans)
      if (span.tensor->format != &format()) return false;
  return true;
}

const uint8_t* Matrix::row(uint32_t expert, uint32_t r, const Format** format, std::vector<uint8_t>& scratch) const {
  for (const Span& span : experts[expert]) {
    if (r >= span.rows) {
      r -= span.rows;
      continue;
    }
    *format = span.tensor->format;
    uint64_t first = span.first_row + uint64_t(r) * span.row_step;
    if (span.column_step == 0) return span.tensor->row(first, scratch) + row_bytes(**format, span.first_column);
    size_t bytes = (*format)->block_bytes;
    scratch.resize(k * bytes);
    for (uint64_t i = 0; i < k; ++i)
      std::memcpy(&scratch[i * bytes], span.tensor->data + (first + i * span.column_step) * bytes, bytes);
    return scratch.data();
  }
  fail(VKMOE_ERROR_INTERNAL, "row ", r, " outside of a matrix of ", n, " rows");
}

void Matrix::release(uint32_t expert, uint32_t first, uint32_t end) const {
  uint32_t at = 0;  // of the span
  for (const Span& span : experts[expert]) {
    uint32_t low = std::max(first, at) - at, high = std::clamp(end, at, at + span.rows) - at;
    at += span.rows;
    if (low >= high) continue;
    uint64_t step = span.row_step;
    if (span.column_step == 0) span.tensor->release(span.first_row + low * step, (high - low) * step);
    else if (high == span.rows) span.tensor->release(0, span.tensor->rows());  // every row lies all over it
  }
}

std::vector<float> Matrix::bias_values(uint32_t expert) const {
  std::vector<float> values;
  for (const Span& span : bias[expert]) {
    for (uint32_t r = 0; r < span.rows; ++r) {
      values.emplace_back();
      const Format& format = *span.tensor->format;
      format.decode(span.tensor->data + (span.first_row + uint64_t(r) * span.row_step) * format.block_bytes, &values.back());
    }
  }
  return values;
}

std::vector<KeySpan> key_spans(const Hyper& h) {
  std::vector<KeySpan> spans;
  for (const LayerAttention& layer : h.attention) {
    auto same = [&](const KeySpan& span) { return span.window == layer.span.window && span.chunk == layer.span.chunk; };
    if (std::none_of(spans.begin(), spans.end(), same)) spans.push_back(layer.span);
  }
  return spans;
}

uint32_t key_span_index(const Hyper& h, uint32_t layer) {
  const KeySpan& own = h.attention[layer].span;
  std::vector<KeySpan> spans = key_spans(h);
  auto same = [&](const KeySpan& span) { return span.window == own.window && span.chunk == own.chunk; };
  return uint32_t(std::find_if(spans.begin(), spans.end(), same) - spans.begin());
}

GateRule gate_rule(const Hyper& h, uint32_t n_tokens) {
  GateRule rule = h.gate;
  if (h.capacity_fraction > 0) rule.capacity = uint32_t(std::ceil(h.capacity_fraction * n_tokens));
  return rule;
}

namespace {

// A head beside the embedding with which config.json ties it: transformers ties only what is equal.
bool differ(const Tensor& head, const Tensor& embedding) {
  return head.format != embedding.format || head.size_bytes != embedding.size_bytes ||
         std::memcmp(head.data, embedding.data, head.size_bytes) != 0;
}

ModelSpec read_stack(const std::shared_ptr<ModelFile>& file, const Architecture& architecture) {
  ModelSpec spec;
  spec.file = file;
  spec.hyper = architecture.read(*file);
  refuse_ignored(*file);
  Hyper& h = spec.hyper;
  h.architecture = architecture.name;
  if (architecture.gguf_interleaves) h.rope_interleaved = file->kind == ModelFile::Kind::gguf;
  if (h.attention_scale == 0) h.attention_scale = float(1 / std::sqrt(double(h.head_dim)));
  h.attention.resize(h.n_layers);
  if (key_spans(h).size() > MAX_KEY_SPANS)
    fail(VKMOE_ERROR_UNSUPPORTED, file->path, ": ", key_spans(h).size(), " different windows or chunks of attention: at most ",
         MAX_KEY_SPANS, " are supported");
  if (h.top_k > h.n_experts)
    fail(VKMOE_ERROR_BAD_FILE, file->path, ": ", h.top_k, " experts a token of only ", h.n_experts);
  Finder find(*file, architecture, h, spec.weights);

  if (!find.has("embedding")) find.matrix("embedding", 0, h.vocab, h.hidden);  // fails with the tensor's name
  const Tensor* table = find.tensor("embedding");
  if (table && table->shape.size() == 2 && table->shape[0] < (1u << 24)) h.vocab = uint32_t(table->shape[0]);
  if (file->kind == ModelFile::Kind::hugging_face) h.vocab = Keys(*file).u32("vocab_size", 1, 1 << 24);
  spec.embedding = find.matrix("embedding", 0, h.vocab, h.hidden);
  for (int32_t id : h.decoder_prompt)
    if (uint32_t(id) >= h.vocab)
      fail(VKMOE_ERROR_BAD_FILE, file->path, ": the decoder begins with id ", id, ", but the vocabulary has ", h.vocab);
  spec.tied_head = !find.has("head");
  if (file->kind == ModelFile::Kind::hugging_face)
    spec.tied_head = Keys(*file).flag_or("tie_word_embeddings", h.tied_by_default && spec.tied_head) &&
                     !(find.has("head") && differ(*find.tensor("head"), *find.tensor("embedding")));
  spec.own_embedding = !spec.tied_head && find.has("own_embedding");
  if (spec.own_embedding) spec.embedding = find.matrix("own_embedding", 0, h.vocab, h.hidden);
  if (!spec.tied_head) spec.head = find.matrix("head", 0, h.vocab, h.hidden);
  else if (h.biased.count("head")) spec.embedding.bias = find.bias("head", 0, h.vocab);  // the look-up adds none
  if (spec.tied_head) spec.head = spec.embedding;
  spec.final_norm = find.norm("final_norm", 0, h);
  for (uint32_t layer = 0; layer < h.n_layers; ++layer) {
    // A file that claims thousands of layers fails at the first that is missing.
    spec.layers.push_back(read_layer(find, h, layer));
  }
  if (h.position_buckets) {
    const Tensor& buckets = *find.matrix("position_bias", 0, h.position_buckets, h.n_heads).experts[0][0].tensor;
    spec.position_bias = &buckets;
  }
  if (architecture.encoder) spec.encoder = std::make_shared<ModelSpec>(read_stack(file, *architecture.encoder));
  return spec;
}

}  // namespace

ModelSpec read_model_spec(std::shared_ptr<ModelFile> file) { return read_stack(file, find_architecture(*file)); }

ParameterCount count_parameters(const ModelSpec& spec) {
  ParameterCount count;
  std::set<const Tensor*> seen;
  auto add = [&](const Tensor* tensor, uint64_t active_num, uint64_t active_den) {
    if (!tensor || !seen.insert(tensor).second) return;
    uint64_t elems = tensor->elems();
    count.total += elems;
    count.weight_bytes += tensor->size_bytes;
    count.active += elems / active_den * active_num;
    count.decode_weight_bytes += tensor->size_bytes / active_den * active_num;
  };
  auto add_matrix = [&](const Matrix& m, uint64_t active_num, uint64_t active_den) {
    for (const auto* all : {&m.experts, &m.bias})
      for (const auto& spans : *all)
        for (const auto& span : spans) add(span.tensor, active_num, active_den);
  };
  // Every stack of layers; an encoder's do nothing for a decoded token.
  auto add_layers = [&](const ModelSpec& stack, uint64_t used) {
    const Hyper& h = stack.hyper;
    auto add_norm = [&](const NormSpec& norm) {
      add(norm.weight, used, 1);
      add(norm.bias, used, 1);
    };
    add_norm(stack.final_norm);
    add(stack.position_bias, used, 1);
    for (uint32_t layer = 0; layer < h.n_layers; ++layer) {
      const LayerSpec& l = stack.layers[layer];
      for (const NormSpec& norm : {l.attention_norm, l.cross_norm, l.ffn_norm, l.attention_post_norm, l.ffn_post_norm}) add_norm(norm);
      for (const Tensor* t : {l.q_norm, l.k_norm, l.sinks, l.router_bias, l.q_a_norm, l.kv_a_norm}) add(t, used, 1);
      for (const Matrix* m : {&l.q, &l.k, &l.v, &l.q_a, &l.kv_a, &l.k_b, &l.v_b, &l.o, &l.router, &l.cross_q, &l.cross_k,
                              &l.cross_v, &l.cross_o, &l.shared_gate, &l.shared_up, &l.shared_down, &l.shared_router})
        add_matrix(*m, used, 1);
      bool experts = h.layer_has_experts[layer];
      for (const Matrix* m : {&l.gate, &l.up, &l.down}) add_matrix(*m, experts ? h.top_k * used : used, experts ? h.n_experts : 1);
    }
  };
  add_matrix(spec.head, 1, 1);
  add_matrix(spec.embedding, 1, spec.hyper.vocab);  // already counted, and read whole, when it is the head too
  add_layers(spec, 1);
  if (spec.encoder) add_layers(*spec.encoder, 0);
  return count;
}

}  // namespace vkmoe
