// Making GGUFs: the bytes of llama.cpp's converter, the model that was read, and nothing where something is wrong.
// The GGUFs that people have beside the plain ones are made here, too.
#include <filesystem>
#include <set>

#include "gguf_writer.h"
#include "loader/tokenizer.h"
#include "moe/quantize.h"
#include "moe/ref/ref.h"
#include "test_files.h"

using namespace vkmoe;

namespace {

const char* const families[] = {
    "dbrx", "deepseek_v2", "deepseek_v2_lite", "deepseek_v3", "dots1", "ernie4_5_moe", "glm4_moe", "gpt_oss",
    "granitemoe", "granitemoeshared", "grok", "hunyuan_v1_moe", "llama4_published", "minimax_m2", "mixtral", "olmoe",
    "phimoe", "qwen2_moe", "qwen3_moe"};

std::string golden(const std::string& name) { return data_path("goldens/" + name); }

QuantizeTypes types(const char* all) {
  QuantizeTypes made;
  made.all = find_format(std::string(all));
  return made;
}

std::shared_ptr<ModelFile> convert(const std::string& in, const std::string& out, const QuantizeTypes& types,
                                   QuantizeReport* report = nullptr) {
  QuantizeReport made = quantize(in, out, types, [](uint64_t done, uint64_t total) { REQUIRE(done <= total); });
  if (report) *report = made;
  CHECK(std::filesystem::file_size(out) == made.written_bytes);
  return ModelFile::open(out);
}

std::vector<float> reference_logits(const std::string& path) {
  auto spec = std::make_shared<ModelSpec>(read_model_spec(ModelFile::open(path)));
  ref::RefSession session(spec, 16);
  std::vector<int32_t> ids = {3, 100, 7, 250, 31, 8, 8, 77};
  std::vector<float> logits(ids.size() * spec->hyper.vocab);
  session.feed(ids.data(), ids.size(), logits.data());
  return logits;
}

// Largest difference in units of the largest magnitude.
double difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0, largest = 0;
  for (size_t i = 0; i < a.size(); i++) {
    most = std::max(most, std::fabs(double(a[i]) - b[i]));
    largest = std::max(largest, std::fabs(double(b[i])));
  }
  return most / largest;
}

// The largest error of a tensor: root of the mean square, over that of the values.
double weight_error(const ModelFile& a, const ModelFile& b) {
  double most = 0;
  for (const auto& [name, tensor] : b.tensors) {
    const Tensor& other = a.require(name, tensor.shape);
    std::vector<float> x(tensor.elems()), y(tensor.elems());
    decode_row(*other.format, other.data, 0, x.size(), x.data());
    decode_row(*tensor.format, tensor.data, 0, y.size(), y.data());
    double error = 0, square = 0;
    for (size_t i = 0; i < x.size(); i++) {
      error += (double(x[i]) - y[i]) * (double(x[i]) - y[i]);
      square += double(y[i]) * y[i];
    }
    most = std::max(most, std::sqrt(error / square));
  }
  return most;
}

std::string bytes_of(const Tensor& tensor) { return {reinterpret_cast<const char*>(tensor.data), size_t(tensor.size_bytes)}; }

void check_same_tensors(const ModelFile& ours, const ModelFile& theirs) {
  CHECK(ours.tensors.size() == theirs.tensors.size());
  for (const auto& [name, tensor] : theirs.tensors) {
    CAPTURE(name);
    const Tensor& other = ours.require(name, tensor.shape);
    CHECK(std::string(other.format->name) == tensor.format->name);
    CHECK(bytes_of(other) == bytes_of(tensor));
  }
}

// All tensors and keys of a GGUF, for a test to write again in another shape.
struct Parts {
  std::shared_ptr<ModelFile> file = ModelFile::open(golden("mixtral/model-f32.gguf"));
  GgufWriter writer;

  explicit Parts(bool keys = true) {
    for (const auto& [key, value] : file->gguf_values)
      if (keys) writer.kv(key, uint32_t(uint8_t(value[0])), std::string(value.substr(4)));
  }
  void add(GgufWriter& to, const std::string& name, const std::vector<uint64_t>& shape, const std::string& bytes) const {
    to.tensor(name, {shape.rbegin(), shape.rend()}, 0, bytes);
  }
  void add(const Tensor& tensor) { add(writer, tensor.name, tensor.shape, bytes_of(tensor)); }
};

}  // namespace

TEST_CASE("a Hugging Face folder becomes the GGUF that llama.cpp's converter makes") {
  TestFolder folder("quantize-converter");
  // About the folder's name; and what llama.cpp reads and does not use.
  const std::set<std::string> free_keys = {"general.name", "general.size_label", "grok.router_logit_softcapping"};
  for (const char* file : {"mixtral/model-f32.gguf", "qwen3_moe/model-q8_0.gguf", "qwen3_moe/model-bf16.gguf",
                           "granitemoe/model-f32.gguf", "granitemoeshared/model-f32.gguf", "olmoe/model-f32.gguf",
                           "dots1/model-f32.gguf", "qwen2_moe/model-f32.gguf", "deepseek_v2/model-f32.gguf",
                           "deepseek_v3/model-f32.gguf", "llama4_published/model-f32.gguf", "grok/model-f32.gguf",
                           "phimoe/model-f32.gguf", "dbrx/model-f32.gguf"}) {
    std::string path = golden(file);
    CAPTURE(path);
    auto theirs = ModelFile::open(path);
    std::string type = path.substr(path.rfind('-') + 1);
    for (char& c : type) c = char(std::toupper(c));
    std::string name = path.substr(0, path.rfind('/'));
    auto ours = convert(name, (folder.path / "out.gguf").string(), types(type.substr(0, type.find('.')).c_str()));
    check_same_tensors(*ours, *theirs);
    for (const auto& [key, value] : theirs->metadata.items()) {
      CAPTURE(key);
      if (free_keys.count(key)) continue;
      if (path.find("dbrx") != path.npos && key.starts_with("tokenizer.ggml.")) continue;  // ids that its folder lacks
      REQUIRE(ours->metadata.contains(key));
      CHECK(ours->metadata[key] == value);
    }
    for (const auto& [key, value] : theirs->gguf_values)  // types of the values
      for (const auto& [own_key, own_value] : ours->gguf_values)
        if (key == own_key) CHECK(int(value[0]) == int(own_value[0]));
  }
}

TEST_CASE("gpt-oss's MXFP4 experts are written as they lie, gate and up apart") {
  TestFolder folder("quantize-gpt-oss");
  QuantizeTypes chosen = types("F32");
  chosen.experts = find_format(std::string("MXFP4"));
  auto ours = convert(golden("gpt_oss_mxfp4"), (folder.path / "out.gguf").string(), chosen);
  auto theirs = ModelFile::open(golden("gpt_oss_mxfp4/model-mxfp4.gguf"));
  check_same_tensors(*ours, *theirs);
  for (const auto& [key, value] : theirs->metadata.items()) {
    CAPTURE(key);
    if (key.starts_with("gpt-oss.")) CHECK(ours->metadata[key] == value);
  }
}

TEST_CASE("every family's folder and its GGUF are the same model, with the same tokenizer") {
  TestFolder folder("quantize-families");
  for (const char* family : families) {
    CAPTURE(family);
    std::string out = (folder.path / "out.gguf").string();
    QuantizeReport report;
    auto made = convert(golden(family), out, types("F32"), &report);
    CHECK(report.notes.empty());
    // Rotary pairs may lie apart or side by side, which changes the order of sums of head_dim products.
    CHECK(difference(reference_logits(out), reference_logits(golden(family))) < 1e-5);
    auto before = Tokenizer::load(*ModelFile::open(golden(family))), after = Tokenizer::load(*made);
    for (const char* text : {"The cat's 12345 caf\u00e9s\n\n  end<|im_end|>", "  \t x+=1;  "}) {
      CHECK(after->encode(text, true) == before->encode(text, true));
      CHECK(after->encode(text, false) == before->encode(text, false));
    }
    CHECK(after->add_bos == before->add_bos);
    CHECK(after->chat_template == before->chat_template);
  }
}

TEST_CASE("rotary rules of a folder are in its GGUF, or it is refused") {
  TestFolder folder("quantize-rope");
  const std::vector<double> slow = {1, 1, 1, 1, 2, 3, 4, 5}, fast(8, 1.25);
  auto convert_with = [&](const char* family, nlohmann::json rule) {
    nlohmann::json config = nlohmann::json::parse(read_file(golden(family) + "/config.json"));
    rule["rope_theta"] = 10000;
    rule["original_max_position_embeddings"] = 64;
    config["rope_parameters"] = rule;
    std::string in = (folder.path / "in").string(), out = (folder.path / "out.gguf").string();
    std::filesystem::remove_all(in);
    std::filesystem::create_directory(in);
    for (const char* file : {"model.safetensors", "tokenizer.json"})
      std::filesystem::create_symlink(golden(family) + "/" + file, in + "/" + file);
    folder.write("in/config.json", config.dump());
    convert(in, out, types("F32"));
    CHECK(difference(reference_logits(out), reference_logits(in)) < 1e-5);
    CHECK(difference(reference_logits(out), reference_logits(golden(family))) > 1e-4);  // the rule does something
  };
  const nlohmann::json llama3 = {{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}, {"high_freq_factor", 4}};
  nlohmann::json step = llama3;
  step["high_freq_factor"] = 1;
  nlohmann::json longrope = {{"rope_type", "longrope"}, {"short_factor", fast}, {"long_factor", slow},
                             {"short_mscale", 1.25},    {"long_mscale", 1.25}};
  const nlohmann::json yarn = {{"rope_type", "yarn"}, {"factor", 8}, {"mscale", 0.7}, {"mscale_all_dim", 0.7}};
  convert_with("mixtral", llama3);
  convert_with("llama4_published", step);
  convert_with("phimoe", longrope);
  convert_with("qwen3_moe", {{"rope_type", "yarn"}, {"factor", 8}, {"attention_factor", 1.25}, {"beta_fast", 16}});
  convert_with("deepseek_v2", yarn);
  longrope["long_mscale"] = 1.5;
  check_fails(VKMOE_ERROR_UNSUPPORTED, {"phimoe", "hyper-parameters"}, [&] { convert_with("phimoe", longrope); });
  check_fails(VKMOE_ERROR_UNSUPPORTED, {"qwen3moe", "hyper-parameters"}, [&] { convert_with("qwen3_moe", llama3); });
}

TEST_CASE("a GGUF keeps its keys, vectors and names; types go where they were asked for") {
  TestFolder folder("quantize-gguf");
  std::string in = golden("dots1/model-f32.gguf"), out = (folder.path / "out.gguf").string();
  auto before = ModelFile::open(in);
  check_same_tensors(*convert(in, out, types("F32")), *before);

  QuantizeTypes chosen = types("Q8_0");
  chosen.experts = find_format(std::string("Q4_0"));
  chosen.shared = find_format(std::string("Q5_1"));
  chosen.attention = find_format(std::string("BF16"));
  QuantizeReport report;
  auto made = convert(in, out, chosen, &report);
  auto type = [&](const char* name) { return std::string(made->find(name)->format->name); };
  CHECK(type("token_embd.weight") == "Q8_0");
  CHECK(type("output.weight") == "Q8_0");
  CHECK(type("blk.0.ffn_up.weight") == "Q8_0");
  CHECK(type("blk.1.ffn_up_exps.weight") == "Q4_0");
  CHECK(type("blk.1.ffn_down_shexp.weight") == "Q5_1");
  CHECK(type("blk.1.attn_q.weight") == "BF16");
  CHECK(type("blk.1.attn_q_norm.weight") == "F32");
  CHECK(type("blk.1.ffn_gate_inp.weight") == "F32");
  CHECK(type("blk.1.exp_probs_b.bias") == "F32");
  CHECK(type("blk.1.ffn_down_exps.weight") == "F16");  // rows of 48
  REQUIRE(report.notes.size() == 2);
  CHECK(report.notes[0] == "blk.1.ffn_down_exps.weight: rows of 48 values: F16 instead of Q4_0");
  CHECK(weight_error(*made, *before) < 0.1);  // Q4_0's is 0.086
  for (const auto& [key, value] : before->metadata.items())
    if (key != "general.file_type") CHECK(made->metadata[key] == value);
  CHECK(made->metadata["general.file_type"] == 7);

  // K types of rows of 64: a type with smaller blocks, which the report names.
  made = convert(in, out, types("Q4_K"), &report);
  CHECK(type("blk.1.attn_q.weight") == "Q5_0");
  CHECK(type("output.weight") == "Q8_0");
  CHECK(report.notes.size() > 20);

  // The router keeps a type smaller than F32 only where it is asked for.
  std::string half = (folder.path / "half.gguf").string();
  QuantizeTypes keep = types("F16");
  keep.keep_router = true;
  convert(golden("qwen3_moe"), half, keep);
  made = convert(half, out, types("Q8_0"));
  CHECK(type("blk.0.ffn_gate_inp.weight") == "F32");
}

TEST_CASE("a folder of an architecture that GGUF does not have is refused with the reason") {
  TestFolder folder("quantize-no-architecture");
  for (const char* family : {"switch_transformers", "nllb_moe"})
    check_fails(VKMOE_ERROR_UNSUPPORTED, {family, "GGUF has no architecture"},
                [&] { convert(golden(family), (folder.path / "out.gguf").string(), types("Q8_0")); });
}

TEST_CASE("what is wrong with a tensor is said by name, and nothing is written") {
  TestFolder folder("quantize-bad");
  std::string out = (folder.path / "out.gguf").string();
  auto write = [&](float bad) {
    std::string values(4 * 64, '\0');
    std::memcpy(&values[4 * 37], &bad, 4);
    GgufWriter writer;
    writer.string("general.architecture", "x").tensor("blk.0.attn_q.weight", {32, 2}, 0, values);
    return folder.write("in.gguf", writer.bytes());
  };
  auto files = [&] {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path)) count += entry.is_regular_file();
    return count;
  };
  for (float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    std::string in = write(bad);
    check_fails(VKMOE_ERROR_BAD_FILE, {"in.gguf", "'blk.0.attn_q.weight'", "finite", "row 1, column 5"},
                [&] { convert(in, out, types("Q8_0")); });
    CHECK(files() == 1);
  }
  std::string in = write(1e6f);
  check_fails(VKMOE_ERROR_UNSUPPORTED, {"in.gguf", "'blk.0.attn_q.weight'", "Q4_0", "65504"},
              [&] { convert(in, out, types("Q4_0")); });
  in = write(1);
  check_fails(VKMOE_ERROR_CANCELLED, {"stopped"}, [&] {
    quantize(in, out, types("Q8_0"), [](uint64_t, uint64_t) { fail(VKMOE_ERROR_CANCELLED, "stopped"); });
  });
  CHECK(files() == 1);
  // An old file stays until the new one is whole.
  folder.write("out.gguf", "old");
  in = write(std::nanf(""));
  check_fails(VKMOE_ERROR_BAD_FILE, {"finite"}, [&] { convert(in, out, types("Q8_0")); });
  CHECK(read_file(out) == "old");
  convert(write(1), out, types("Q8_0"));
  CHECK(files() == 2);
  // Over its own source.
  convert(out, out, types("F16"));
  check_fails(VKMOE_ERROR_NOT_FOUND, {"no/such/folder"}, [&] { convert(in, "/no/such/folder/x", types("F16")); });
  check_fails(VKMOE_ERROR_INVALID_ARGUMENT, {"folder"}, [&] { convert(out, folder.path.string(), types("F16")); });
}

TEST_CASE("every type can be made of a model, and its weights are near those it was made of") {
  TestFolder folder("quantize-types");
  std::string in = golden("qwen3_moe"), out = (folder.path / "out.gguf").string();
  auto plain = convert(in, (folder.path / "plain.gguf").string(), types("F32"));
  for (const Format* format : all_formats()) {
    if (!format->encode) continue;
    std::string name = format->name;
    CAPTURE(name);
    double bits = std::min(9.0, 8.0 * format->block_bytes / format->block_elems);
    // What a uniform quantizer of one bit less than the type has would lose of a normal distribution, about.
    CHECK(weight_error(*convert(in, out, types(format->name)), *plain) < 2.5 * std::exp2(2 - bits));
  }
}

TEST_CASE("GGUFs in the wild read as the plain one, and are made plain") {
  TestFolder folder("gguf-wild");
  const std::string plain = golden("mixtral/model-f32.gguf"), out = (folder.path / "out.gguf").string();
  const std::vector<float> expected = reference_logits(plain);
  auto check = [&](const std::string& path) {
    CHECK(reference_logits(path) == expected);
    check_same_tensors(*convert(path, out, types("F32")), *ModelFile::open(plain));
  };
  SUBCASE("an expert a tensor, as in 2023") {
    Parts parts;
    for (const auto& [name, tensor] : parts.file->tensors) {
      size_t at = name.find("_exps");
      if (at == std::string::npos) {
        parts.add(tensor);
        continue;
      }
      uint64_t bytes = tensor.size_bytes / tensor.shape[0];
      for (uint64_t e = 0; e < tensor.shape[0]; e++)
        parts.add(parts.writer, cat(name.substr(0, at), ".", e, ".weight"), {tensor.shape[1], tensor.shape[2]},
                  bytes_of(tensor).substr(e * bytes, bytes));
    }
    check(folder.write("legacy.gguf", parts.writer.bytes()));
  }
  SUBCASE("version 2, another alignment, keys that nobody knows") {
    Parts parts;
    parts.writer.version = 2;
    parts.writer.alignment = 256;
    std::string inner = GgufWriter::raw(uint32_t(6)) + GgufWriter::raw(uint64_t(1)) + GgufWriter::raw(1.5f);
    parts.writer.kv("my.nested", 9, GgufWriter::raw(uint32_t(9)) + GgufWriter::raw(uint64_t(2)) + inner + inner);
    parts.writer.f32("llama.my_own", 1).string("general.url", "x");
    for (const auto& [name, tensor] : parts.file->tensors) parts.add(tensor);
    std::string path = folder.write("other.gguf", parts.writer.bytes());
    check(path);
    auto made = ModelFile::open(out);
    CHECK(made->metadata["my.nested"] == nlohmann::json{{1.5}, {1.5}});
    CHECK(!made->metadata.contains("general.alignment"));
  }
  SUBCASE("gate and up of each expert as one") {
    Parts parts;
    for (const auto& [name, tensor] : parts.file->tensors) {
      if (name.find("ffn_up_exps") != std::string::npos) continue;
      size_t at = name.find("ffn_gate_exps");
      if (at == std::string::npos) {
        parts.add(tensor);
        continue;
      }
      const Tensor& up = *parts.file->find(name.substr(0, at) + "ffn_up_exps.weight");
      uint64_t bytes = tensor.size_bytes / tensor.shape[0];
      std::string both;
      for (uint64_t e = 0; e < tensor.shape[0]; e++)
        both += bytes_of(tensor).substr(e * bytes, bytes) + bytes_of(up).substr(e * bytes, bytes);
      parts.add(parts.writer, name.substr(0, at) + "ffn_gate_up_exps.weight",
                {tensor.shape[0], 2 * tensor.shape[1], tensor.shape[2]}, both);
    }
    CHECK(reference_logits(folder.write("fused.gguf", parts.writer.bytes())) == expected);
  }
  SUBCASE("in three files") {
    Parts parts;
    std::vector<GgufWriter> writers = {parts.writer, GgufWriter(), GgufWriter()};
    uint16_t number = 0;
    for (GgufWriter& writer : writers) {
      writer.kv("split.no", 2, GgufWriter::raw(number++)).kv("split.count", 2, GgufWriter::raw(uint16_t(3)));
      writer.kv("split.tensors.count", 5, GgufWriter::raw(int32_t(parts.file->tensors.size())));
    }
    size_t at = 0;
    for (const auto& [name, tensor] : parts.file->tensors) parts.add(writers[at++ % 3], name, tensor.shape, bytes_of(tensor));
    for (int i = 2; i >= 0; i--) folder.write(cat("m-0000", i + 1, "-of-00003.gguf"), writers[i].bytes());
    check((folder.path / "m-00001-of-00003.gguf").string());
    CHECK(!ModelFile::open(out)->metadata.contains("split.count"));
    std::filesystem::remove(folder.path / "m-00002-of-00003.gguf");
    check_fails(VKMOE_ERROR_NOT_FOUND, {"m-00002-of-00003.gguf", "part 2 of 3"},
                [&] { ModelFile::open((folder.path / "m-00001-of-00003.gguf").string()); });
  }
  SUBCASE("an embedding that is the output, too") {
    Parts parts;
    for (const auto& [name, tensor] : parts.file->tensors)
      if (name != "output.weight") parts.add(tensor);
    std::string path = folder.write("tied.gguf", parts.writer.bytes());
    ModelSpec spec = read_model_spec(ModelFile::open(path));
    CHECK(spec.tied_head);
    CHECK(reference_logits(path) != expected);
    auto made = convert(path, out, types("Q4_0"));
    CHECK(made->tensors.size() + 1 == parts.file->tensors.size());
    CHECK(std::string(made->find("token_embd.weight")->format->name) == "Q8_0");  // as Q6_K, but rows of 64
  }
}
