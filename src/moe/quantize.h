// Writes a model as a GGUF whose matrices have the types asked for. Called by the C API.
#pragma once
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loader/gguf_writer.h"
#include "moe/model_spec.h"

namespace vkmoe {

// A tensor of the GGUF to be written, and the rows that it is made of.
struct GgufTensor {
  std::string name;
  std::vector<uint64_t> shape;   // outermost first
  Matrix rows;                   // in order; rows.n is that of one expert
  uint32_t interleave_head = 0;  // not 0: rows of each head of this size change from halves to neighbouring pairs
  bool transposed = false;       // its rows are the columns of each expert's matrix

  uint32_t row_elems() const { return transposed ? rows.n : rows.k; }
  uint64_t row_count() const { return uint64_t(transposed ? rows.k : rows.n) * rows.experts.size(); }
};

// A tensor that the source says in other words, such as the factors of rotary frequencies.
struct MadeTensor {
  std::vector<float> values;
  Tensor tensor;
};

// What is to be written: key-values, and tensors in the order of the file.
struct GgufPlan {
  GgufHeader header;
  std::vector<GgufTensor> tensors;
  std::list<MadeTensor> made;  // what some of them point to
  std::vector<std::string> left_out;  // the source's tensors that a GGUF of this family has no place for
};

// Of a GGUF: its keys and tensors as they are; experts that lie apart (blk.0.ffn_gate.3.weight) become one tensor.
GgufPlan plan_from_gguf(const ModelFile& file);
// Of a Hugging Face folder, in gguf_export.cpp: names, keys and tokenizer as llama.cpp's converter writes them.
GgufPlan plan_from_hugging_face(std::shared_ptr<ModelFile> file);

struct QuantizeTypes {
  const Format* all = nullptr;  // matrices without a type of their own; embedding, head and some sensitive matrices get
                                // a better one (quantize.cpp)
  const Format *experts = nullptr, *shared = nullptr, *attention = nullptr;  // exactly these, where not nullptr
  bool keep_router = false;  // the router's type as in the source; otherwise F32
};

struct QuantizeReport {
  std::vector<std::string> notes;  // "blk.0.ffn_down_exps.weight: rows of 48 values: F16 instead of Q8_0"
  uint64_t source_bytes = 0, written_bytes = 0;
};

// Reads tensors one after the other and holds at most a buffer of the result in memory. progress gets values read so
// far and in all, and may throw to stop; nothing is left under out_path then. Fails with the tensor's name where a
// value is not finite or the format cannot hold it.
QuantizeReport quantize(const std::string& in_path, const std::string& out_path, const QuantizeTypes& types,
                        const std::function<void(uint64_t done, uint64_t total)>& progress);

// Formats that can be made, "F32, F16, ...".
std::string encodable_formats();

}  // namespace vkmoe
