#include "moe/quantize.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>

#include "base/output_file.h"
#include "base/parallel.h"

namespace vkmoe {
namespace {

constexpr uint64_t buffer_bytes = 16 << 20;

enum class Part { vector, router, embedding, head, experts, shared, attention, other };

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// By the names that llama.cpp gives tensors.
Part part_of(const GgufTensor& tensor) {
  const std::string& name = tensor.name;
  if (tensor.shape.size() < 2 || !name.ends_with(".weight")) return Part::vector;
  if (has(name, "ffn_gate_inp")) return Part::router;
  for (const char* kept : {"norm", "conv1d", "position_embd", "token_types", "rel_b"})
    if (has(name, kept)) return Part::vector;
  if (name == "token_embd.weight") return Part::embedding;
  if (name == "output.weight") return Part::head;
  if (has(name, "_exps.")) return Part::experts;
  if (has(name, "_shexp.")) return Part::shared;
  return has(name, ".attn_") ? Part::attention : Part::other;
}

const Format* format_of(const char* name) { return find_format(std::string(name)); }

// Values and down projections are more sensitive than the rest, most of all in the first and last layers: they get a
// better type there, which costs few bytes. llama.cpp's mixtures of the same names ("Q4_K_M") do so, too.
const Format* better_type(const Format* type, const GgufTensor& tensor, uint32_t n_layers) {
  bool value = has(tensor.name, ".attn_v."), down = has(tensor.name, ".ffn_down"), out = has(tensor.name, ".attn_output");
  const std::string name = type->name;
  if (name == "Q2_K" || name == "Q3_K") {
    bool low = name == "Q2_K";
    if (value) return format_of(low ? "Q4_K" : "Q5_K");
    return down || out ? format_of(low ? "Q3_K" : "Q4_K") : type;
  }
  if ((name != "Q4_K" && name != "Q5_K") || !(value || down)) return type;
  uint32_t layer = uint32_t(std::atoi(tensor.name.c_str() + 4)), eighth = n_layers / 8;
  bool sensitive = layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2;
  return sensitive ? format_of("Q6_K") : type;
}

// The best of the types whose blocks fit in a row, no larger in quality than needed: llama-quantize's choice.
const Format* fitting_type(const Format* type, uint64_t k) {
  static const std::map<std::string, const char*> instead = {
      {"Q2_K", "IQ4_NL"}, {"Q3_K", "IQ4_NL"}, {"IQ4_XS", "IQ4_NL"}, {"Q4_K", "Q5_0"}, {"Q5_K", "Q5_1"}, {"Q6_K", "Q8_0"}};
  if (k % type->block_elems == 0) return type;
  auto other = instead.find(type->name);
  if (other != instead.end() && k % 32 == 0) return format_of(other->second);
  return format_of("F16");
}

class Chooser {
 public:
  Chooser(const GgufPlan& plan, const QuantizeTypes& types, bool gguf) : types_(types), gguf_(gguf) {
    for (const GgufTensor& tensor : plan.tensors) {
      if (tensor.name == "output.weight") tied_ = false;
      if (tensor.name.starts_with("blk."))
        n_layers_ = std::max(n_layers_, uint32_t(std::atoi(tensor.name.c_str() + 4)) + 1);
    }
  }

  const Format* choose(const GgufTensor& tensor, QuantizeReport& report) const {
    const Format* wanted = wanted_type(tensor);
    const Format* type = fitting_type(wanted, tensor.row_elems());
    if (type != wanted)
      report.notes.push_back(cat(tensor.name, ": rows of ", tensor.row_elems(), " values: ", type->name, " instead of ",
                                     wanted->name));
    return type;
  }

 private:
  const Format* wanted_type(const GgufTensor& tensor) const {
    const Format* source = &tensor.rows.format();
    Part part = part_of(tensor);
    switch (part) {
      case Part::vector: return gguf_ ? source : format_of("F32");
      case Part::router: return types_.keep_router && source->encode ? source : format_of("F32");
      case Part::embedding:
      case Part::head:
        if (part == Part::head || tied_) return bits(types_.all) < bits(format_of("Q6_K")) ? head_type() : types_.all;
        return types_.all;
      case Part::experts:
        if (types_.experts) return types_.experts;
        break;
      case Part::shared:
        if (types_.shared) return types_.shared;
        break;
      case Part::attention:
        if (types_.attention) return types_.attention;
        break;
      default: break;
    }
    // MXFP4 is made for experts: the rest keeps 8 bits.
    if (part != Part::experts && std::strcmp(types_.all->name, "MXFP4") == 0) return format_of("Q8_0");
    return better_type(types_.all, tensor, n_layers_);
  }

  const Format* head_type() const { return format_of(std::strcmp(types_.all->name, "MXFP4") ? "Q6_K" : "Q8_0"); }
  static double bits(const Format* format) { return 8.0 * format->block_bytes / format->block_elems; }

  const QuantizeTypes& types_;
  bool gguf_, tied_ = true;
  uint32_t n_layers_ = 0;
};

// The row of the source that becomes row r: where heads are interleaved, 2i + s is row s * half + i.
uint64_t source_row(const GgufTensor& tensor, uint64_t r) {
  uint64_t head = tensor.interleave_head;
  if (!head) return r;
  uint64_t within = r % head;
  return r - within + within % 2 * (head / 2) + within / 2;
}

void encode_row(const GgufTensor& tensor, uint64_t r, const float* values, const Format& to, uint8_t* out) {
  for (uint32_t at = 0; at < tensor.row_elems(); at += to.block_elems, out += to.block_bytes) {
    if (to.encode(&values[at], out)) continue;
    for (uint32_t i = at; i < at + to.block_elems; i++)
      if (!std::isfinite(values[i]))
        fail(VKMOE_ERROR_BAD_FILE, "tensor '", tensor.name, "': expected finite numbers, found ", values[i], " in row ",
             r, ", column ", i);
    fail(VKMOE_ERROR_UNSUPPORTED, "tensor '", tensor.name, "': row ", r, " from column ", at, " has a value that ",
         to.name, " cannot hold (its scales are binary16, at most 65504)");
  }
}

// Row r of a tensor in the format asked for.
void convert_row(const GgufTensor& tensor, uint64_t r, const Format& to, uint8_t* out) {
  static thread_local std::vector<float> values;
  static thread_local std::vector<uint8_t> scratch;
  uint64_t from_row = source_row(tensor, r);
  uint32_t k = tensor.rows.k;
  const Format* from;
  auto expert = uint32_t(from_row / tensor.rows.n), within = uint32_t(from_row % tensor.rows.n);
  const uint8_t* row = tensor.rows.row(expert, within, &from, scratch);
  if (from == &to) {
    std::memcpy(out, row, row_bytes(to, k));
    return;
  }
  values.resize(k);
  decode_row(*from, row, 0, k, values.data());
  encode_row(tensor, r, values.data(), to, out);
}

// The values of one expert's matrix, each of its columns in order.
std::vector<float> transpose(const Matrix& matrix, uint32_t expert) {
  std::vector<float> values(uint64_t(matrix.n) * matrix.k), row(matrix.k);
  std::vector<uint8_t> scratch;
  for (uint32_t r = 0; r < matrix.n; r++) {
    const Format* from;
    const uint8_t* source = matrix.row(expert, r, &from, scratch);
    decode_row(*from, source, 0, matrix.k, row.data());
    for (uint32_t c = 0; c < matrix.k; c++) values[uint64_t(c) * matrix.n + r] = row[c];
  }
  return values;
}

// Likewise, expert by expert: what is transposed are parts of attention, a head each, and small.
void write_transposed(const GgufTensor& tensor, const Format& to, OutputFile& file,
                      const std::function<void(uint64_t)>& add_values) {
  uint64_t bytes = row_bytes(to, tensor.row_elems()), rows = tensor.rows.k;
  std::vector<uint8_t> out(rows * bytes);
  for (uint32_t expert = 0; expert < tensor.rows.experts.size(); expert++) {
    std::vector<float> values = transpose(tensor.rows, expert);
    parallel_for(rows, [&](uint64_t r) {
      encode_row(tensor, expert * rows + r, &values[r * tensor.rows.n], to, &out[r * bytes]);
    });
    file.write(out.data(), out.size());
    add_values(values.size());
  }
}

// Rows of a tensor, converted by all cores and written in order.
void write_rows(const GgufTensor& tensor, const Format& to, OutputFile& file,
                const std::function<void(uint64_t)>& add_values) {
  uint64_t bytes = row_bytes(to, tensor.rows.k), rows = tensor.row_count();
  uint64_t batch = std::clamp<uint64_t>(buffer_bytes / bytes, 1, rows);
  uint64_t group = std::max<uint64_t>(1, batch / 256);  // rows that a thread takes at once
  std::vector<uint8_t> out(batch * bytes);
  for (uint64_t first = 0; first < rows; first += batch) {
    uint64_t count = std::min(batch, rows - first);
    parallel_for((count + group - 1) / group, [&](uint64_t g) {
      for (uint64_t r = g * group; r < std::min(count, (g + 1) * group); r++)
        convert_row(tensor, first + r, to, &out[r * bytes]);
    });
    file.write(out.data(), count * bytes);
    add_values(count * tensor.rows.k);
  }
}

void write_tensor(const GgufTensor& tensor, const Format& to, OutputFile& file,
                  const std::function<void(uint64_t)>& add_values) {
  (tensor.transposed ? write_transposed : write_rows)(tensor, to, file, add_values);
  uint64_t total = tensor.row_count() * row_bytes(to, tensor.row_elems());
  static const char zeros[GgufHeader::alignment] = {};
  file.write(zeros, (GgufHeader::alignment - total % GgufHeader::alignment) % GgufHeader::alignment);
}

// llama.cpp's number for "mostly this type" (general.file_type).
uint32_t file_type(const Format& format) {
  static const std::map<std::string, uint32_t> numbers = {
      {"F32", 0},   {"F16", 1},   {"Q4_0", 2},  {"Q4_1", 3},   {"Q8_0", 7},    {"Q5_0", 8},  {"Q5_1", 9}, {"Q2_K", 10},
      {"Q3_K", 12}, {"Q4_K", 15}, {"Q5_K", 17}, {"Q6_K", 18}, {"IQ4_NL", 25}, {"IQ4_XS", 30}, {"BF16", 32}, {"MXFP4", 38}};
  return numbers.at(format.name);
}

// "blk.2.ffn_gate.5.weight" -> "blk.2.ffn_gate_exps.weight" and 5, as GGUFs of 2023 have experts.
bool legacy_expert(const std::string& name, std::string& stacked, uint64_t& expert) {
  size_t end = name.size() - std::min<size_t>(name.size(), 7), dot = name.rfind('.', end ? end - 1 : 0);
  if (!name.ends_with(".weight") || !name.starts_with("blk.") || dot == std::string::npos) return false;
  std::string number = name.substr(dot + 1, end - dot - 1), base = name.substr(0, dot);
  if (number.empty() || number.size() > 4 || number.find_first_not_of("0123456789") != std::string::npos) return false;
  if (!base.ends_with(".ffn_gate") && !base.ends_with(".ffn_up") && !base.ends_with(".ffn_down")) return false;
  stacked = base + "_exps.weight";
  expert = std::stoull(number);
  return true;
}

Matrix whole(const Tensor& tensor) {
  uint64_t k = tensor.shape.empty() ? 1 : tensor.shape.back(), n = tensor.elems() / k;
  if (k > UINT32_MAX || n > UINT32_MAX)
    fail(VKMOE_ERROR_UNSUPPORTED, "tensor '", tensor.name, "': shape ", shape_text(tensor.shape), " is too large");
  return {uint32_t(n), uint32_t(k), {{{&tensor, 0, uint32_t(n), 1}}}, {}};
}

}  // namespace

GgufPlan plan_from_gguf(const ModelFile& file) {
  GgufPlan plan;
  for (const auto& [key, value] : file.gguf_values)
    if (!key.starts_with("split.") && key != "general.alignment") plan.header.set_raw(key, value);
  std::map<std::string, size_t> stacks;
  std::vector<const Tensor*> order;  // as in the file, so that reading is sequential
  for (const auto& [name, tensor] : file.tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const Tensor* a, const Tensor* b) { return a->data < b->data; });
  for (const Tensor* tensor : order) {
    std::string stacked;
    uint64_t expert = 0;
    if (!legacy_expert(tensor->name, stacked, expert)) {
      plan.tensors.push_back({tensor->name, tensor->shape, whole(*tensor)});
      continue;
    }
    if (expert || !stacks.emplace(stacked, 0).second) continue;  // added with expert 0
    GgufTensor all{stacked, tensor->shape, whole(*tensor)};
    const std::string base = tensor->name.substr(0, tensor->name.size() - 8);
    while (const Tensor* next = file.find(cat(base, all.rows.experts.size(), ".weight"))) {
      if (next->shape != tensor->shape) file.require(next->name, tensor->shape);
      all.rows.experts.push_back(whole(*next).experts[0]);
    }
    all.shape.insert(all.shape.begin(), all.rows.experts.size());
    plan.tensors.push_back(std::move(all));
  }
  return plan;
}

QuantizeReport quantize(const std::string& in_path, const std::string& out_path, const QuantizeTypes& types,
                        const std::function<void(uint64_t, uint64_t)>& progress) {
  auto file = ModelFile::open(in_path);
  bool gguf = file->kind == ModelFile::Kind::gguf;
  GgufPlan plan = gguf ? plan_from_gguf(*file) : plan_from_hugging_face(file);
  plan.header.set("general.file_type", file_type(*types.all));
  plan.header.set("general.quantization_version", 2u);

  QuantizeReport report;
  const auto& left = plan.left_out;  // pictures' tensors and those of further predicted tokens are hundreds
  if (left.size() > 8) report.notes.push_back(cat(left.size(), " tensors left out, from ", left[0], " to ", left.back()));
  else for (const std::string& name : left) report.notes.push_back(name + ": left out");
  Chooser chooser(plan, types, gguf);
  std::vector<const Format*> formats;
  uint64_t total = 0, done = 0;
  for (const GgufTensor& tensor : plan.tensors) {
    formats.push_back(chooser.choose(tensor, report));
    plan.header.add_tensor(tensor.name, tensor.shape, *formats.back());
    total += tensor.row_count() * tensor.row_elems();
  }
  for (const auto& [name, tensor] : file->tensors) report.source_bytes += tensor.size_bytes;
  std::string header = plan.header.bytes();
  report.written_bytes = header.size() + plan.header.data_bytes();

  OutputFile out(out_path, report.written_bytes);
  out.write(header.data(), header.size());
  for (size_t i = 0; i < plan.tensors.size(); i++) {
    const GgufTensor& tensor = plan.tensors[i];
    try {
      write_tensor(tensor, *formats[i], out, [&](uint64_t values) { progress(done += values, total); });
    } catch (const Error& error) {
      if (std::string_view(error.what()).starts_with("tensor '")) fail(error.status, in_path, ": ", error.what());
      throw;
    }
    for (const auto& spans : tensor.rows.experts)
      for (const auto& span : spans) span.tensor->release(0, span.tensor->rows());
  }
  out.commit();
  return report;
}

std::string encodable_formats() {
  std::string names;
  for (const Format* format : all_formats())
    if (format->encode) names += (names.empty() ? "" : ", ") + std::string(format->name);
  return names;
}

}  // namespace vkmoe
