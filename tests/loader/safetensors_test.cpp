#include <cstring>
#include <functional>

#include "gguf_writer.h"
#include "loader/model_file.h"
#include "test_files.h"

using namespace vkmoe;
using nlohmann::json;

namespace {

std::string safetensors(const std::string& header, const std::string& data) {
  return GgufWriter::raw(uint64_t(header.size())) + header + data;
}

std::string entry(const char* dtype, const std::string& shape, const std::string& offsets) {
  return std::string(R"({"dtype":")") + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

// A folder with config.json and one weights file; fails as said.
void check_bad(vkmoe_status status, std::initializer_list<const char*> parts, const std::string& weights,
               const std::string& config = "{}") {
  TestFolder folder("safetensors-bad");
  folder.write("config.json", config);
  folder.write("model.safetensors", weights);
  check_fails(status, parts, [&] { ModelFile::open(folder.path.string()); });
}

}  // namespace

TEST_CASE("Hugging Face folder: a golden model") {
  auto model = ModelFile::open(data_path("goldens/mixtral"));
  CHECK(model->kind == ModelFile::Kind::hugging_face);
  CHECK(model->metadata["model_type"] == "mixtral");
  CHECK(model->tokenizer["model"]["type"] == "BPE");
  CHECK(model->tokenizer_config.is_object());
  CHECK(model->generation_config.contains("eos_token_id"));
  uint64_t vocab = model->metadata["vocab_size"], hidden = model->metadata["hidden_size"];
  const Tensor& embeddings = model->require("model.embed_tokens.weight", {vocab, hidden});
  CHECK(embeddings.format == find_format("F32"));
  CHECK(embeddings.size_bytes == vocab * hidden * 4);
  check_fails(VKMOE_ERROR_BAD_FILE, {"embed_tokens", "(1, 2)"},
              [&] { model->require("model.embed_tokens.weight", {1, 2}); });
}

TEST_CASE("Hugging Face folder and GGUF of one model hold the same values") {
  auto a = ModelFile::open(data_path("goldens/mixtral"));
  auto b = ModelFile::open(data_path("goldens/mixtral/model-f32.gguf"));
  const Tensor& x = *a->find("model.embed_tokens.weight");
  const Tensor& y = b->require("token_embd.weight", x.shape);
  CHECK(std::memcmp(x.data, y.data, x.size_bytes) == 0);
}

TEST_CASE("Hugging Face folder: shards by index, by name, and a separate template") {
  TestFolder folder("shards");
  folder.write("config.json", "{}");
  std::string one = safetensors("{\"a\":" + entry("F16", "[2,3]", "[0,12]") + "}  ", std::string(12, 'a'));
  std::string two = safetensors("{\"__metadata__\":{\"format\":\"pt\"},\"b\":" + entry("BF16", "[2]", "[4,8]") +
                                    ",\"n\":" + entry("I32", "[]", "[0,4]") + "}",
                                "nnnnbbbb");
  folder.write("x-1.safetensors", one);
  check_fails(VKMOE_ERROR_NOT_FOUND, {"x-2.safetensors", "index"}, [&] {
    folder.write("model.safetensors.index.json",
                 R"({"weight_map":{"a":"x-1.safetensors","b":"x-2.safetensors","n":"x-2.safetensors"}})");
    ModelFile::open(folder.path.string());
  });
  folder.write("x-2.safetensors", two);
  folder.write("chat_template.jinja", "{{ x }}");
  for (bool by_index : {true, false}) {
    if (!by_index) std::filesystem::remove(folder.path / "model.safetensors.index.json");
    auto model = ModelFile::open(folder.path.string());
    CHECK(model->tensors.size() == 2);
    CHECK(model->require("a", {2, 3}).data[11] == 'a');
    CHECK(model->require("b", {2}).data[0] == 'b');
    CHECK(model->find("n") == nullptr);
    CHECK(model->skipped.at("n").dtype == "I32");
    CHECK(model->tokenizer_config["chat_template"] == "{{ x }}");
    CHECK(model->tokenizer.is_null());
    check_fails(VKMOE_ERROR_UNSUPPORTED, {"'n'", "I32"}, [&] { model->require("n", {}); });
  }
  for (const char* shard : {"\"../x-1.safetensors\"", "\"/etc/passwd\"", "\"\"", "3", "\"x-1.safetensors\\u0000\""}) {
    folder.write("model.safetensors.index.json", std::string(R"({"weight_map":{"a":)") + shard + "}}");
    check_fails(VKMOE_ERROR_BAD_FILE, {"index.json", "'a'", "same folder"},
                [&] { ModelFile::open(folder.path.string()); });
  }
  folder.write("model.safetensors.index.json", R"({"weight_map":{"z":"x-1.safetensors"}})");
  check_fails(VKMOE_ERROR_BAD_FILE, {"x-1.safetensors", "'z'", "missing"},
              [&] { ModelFile::open(folder.path.string()); });
  folder.write("model.safetensors.index.json", R"({"weight_map":[]})");
  check_fails(VKMOE_ERROR_BAD_FILE, {"weight_map"}, [&] { ModelFile::open(folder.path.string()); });
  std::filesystem::remove(folder.path / "model.safetensors.index.json");
  folder.write("y.safetensors", one);
  check_fails(VKMOE_ERROR_BAD_FILE, {"y.safetensors", "'a'", "twice"},
              [&] { ModelFile::open(folder.path.string()); });
}

TEST_CASE("Hugging Face folder: what is missing or not supported is named") {
  TestFolder folder("hf-missing");
  check_fails(VKMOE_ERROR_NOT_FOUND, {"config.json"}, [&] { ModelFile::open(folder.path.string()); });
  folder.write("config.json", "{}");
  check_fails(VKMOE_ERROR_NOT_FOUND, {"no .safetensors"}, [&] { ModelFile::open(folder.path.string()); });
  std::string good = safetensors("{}", "");
  check_bad(VKMOE_ERROR_UNSUPPORTED, {"config.json", "quantization_config", "gptq"}, good,
            R"({"quantization_config":{"quant_method":"gptq"}})");
  check_bad(VKMOE_ERROR_UNSUPPORTED, {"quantization_config", "missing"}, good, R"({"quantization_config":[]})");
  check_bad(VKMOE_ERROR_BAD_FILE, {"config.json", "object"}, good, "[1]");
  check_bad(VKMOE_ERROR_BAD_FILE, {"config.json", "JSON", "byte 9 of 9"}, good, "{\"a\": 1,}");
  check_bad(VKMOE_ERROR_BAD_FILE, {"config.json", "JSON"}, good, "{\"a\": \"\xff\"}");
  check_bad(VKMOE_ERROR_BAD_FILE, {"config.json", "JSON"}, good, "{\"a\": 1e999}");
  check_bad(VKMOE_ERROR_BAD_FILE, {"config.json", "nested deeper"}, good, std::string(2'000'000, '['));
  std::string bomb;
  for (int i = 0; i < 1'000'000; i++) bomb += "{\"a\":";
  check_bad(VKMOE_ERROR_BAD_FILE, {"config.json", "nested deeper"}, good, bomb);
}

TEST_CASE("safetensors: headers that contradict the file") {
  auto bad = [](std::initializer_list<const char*> parts, const std::string& tensor) {
    check_bad(VKMOE_ERROR_BAD_FILE, parts, safetensors("{\"t\":" + tensor + "}", std::string(64, 'x')));
  };
  check_bad(VKMOE_ERROR_BAD_FILE, {"header length"}, "1234567");
  check_bad(VKMOE_ERROR_BAD_FILE, {"header of 18446744073709551615"}, std::string(8, '\xff') + "{}");
  check_bad(VKMOE_ERROR_BAD_FILE, {"header of 3"}, GgufWriter::raw(uint64_t(3)) + "{}");
  check_bad(VKMOE_ERROR_BAD_FILE, {"object"}, safetensors("[]", ""));
  check_bad(VKMOE_ERROR_BAD_FILE, {"(header)", "JSON"}, safetensors("{", ""));
  check_bad(VKMOE_ERROR_BAD_FILE, {"(header)", "'t'", "twice"},
            safetensors("{\"t\":" + entry("F32", "[1]", "[0,4]") + ",\"t\":" + entry("F32", "[1]", "[4,8]") + "}",
                        std::string(8, 'x')));
  bad({"'t'", "object"}, "3");
  bad({"'t'", "dtype"}, R"({"shape":[1],"data_offsets":[0,4]})");
  bad({"'t'", "dtype"}, R"({"dtype":3,"shape":[1],"data_offsets":[0,4]})");
  bad({"'t'", "shape"}, R"({"dtype":"F32","data_offsets":[0,4]})");
  bad({"'t'", "shape", "-1"}, entry("F32", "[-1]", "[0,4]"));
  bad({"'t'", "shape", "1.5"}, entry("F32", "[1.5]", "[0,4]"));
  bad({"'t'", "dimensions", "9"}, entry("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"));
  bad({"'t'", "2^64"}, entry("F32", "[4294967296,4294967296]", "[0,4]"));
  bad({"'t'", "data_offsets"}, entry("F32", "[1]", "[4]"));
  bad({"'t'", "data_offsets", "64 bytes"}, entry("F32", "[1]", "[4,0]"));
  bad({"'t'", "data_offsets", "64 bytes"}, entry("F32", "[2]", "[60,68]"));
  bad({"'t'", "data_offsets"}, entry("F32", "[1]", "[0,\"4\"]"));
  bad({"'t'", "12 bytes", "F32", "(3)", "8 bytes"}, entry("F32", "[3]", "[0,8]"));
  bad({"'u'", "overlaps", "'t'"}, entry("F32", "[2]", "[0,8]") + ",\"u\":" + entry("I64", "[1]", "[4,12]"));
  check_bad(VKMOE_ERROR_UNSUPPORTED, {"'t'", "F8_E4M3"},
            safetensors("{\"t\":" + entry("F8_E4M3", "[1]", "[0,1]") + "}", "x"));
}

TEST_CASE("safetensors: a file cut or changed anywhere either loads or fails with a message") {
  TestFolder folder("safetensors-mutated");
  folder.write("config.json", "{}");
  const std::string bytes =
      safetensors("{\"a\":" + entry("F32", "[2,2]", "[0,16]") + ",\"b\":" + entry("BF16", "[3]", "[16,22]") + "}",
                  std::string(22, 'x'));
  int loaded = 0, failed = 0;
  auto attempt = [&](const std::string& mutated) {
    folder.write("model.safetensors", mutated);
    try {
      auto model = ModelFile::open(folder.path.string());
      uint64_t sum = 0;
      for (const auto& [name, tensor] : model->tensors)
        for (uint64_t i = 0; i < tensor.size_bytes; i++) sum += tensor.data[i];
      loaded += sum != UINT64_MAX;
    } catch (const Error& error) {
      failed += std::string(error.what()).find("model.safetensors") != std::string::npos;
    }
  };
  for (size_t length = 0; length < bytes.size(); length++) attempt(bytes.substr(0, length));
  CHECK(failed == int(bytes.size()));
  loaded = failed = 0;
  for (size_t at = 0; at < bytes.size(); at++)
    for (int flip : {0x01, 0x10, 0x80, 0xff}) {
      std::string mutated = bytes;
      mutated[at] = char(mutated[at] ^ flip);
      attempt(mutated);
    }
  CHECK(loaded + failed == int(4 * bytes.size()));
  CHECK(failed > 100);
}

TEST_CASE("FP8 with its scales apart") {
  // Rows of two blocks of 128, each behind its scale, and the values that torch gives.
  std::string blocks = read_file(data_path("quants/F8_E4M3.blocks")), expected = read_file(data_path("quants/F8_E4M3.values"));
  std::string bytes, scales;
  for (size_t at = 0; at < blocks.size(); at += 132) scales += blocks.substr(at, 4), bytes += blocks.substr(at + 4, 128);
  auto folder_with = [&](const TestFolder& folder, const std::string& config, const std::string& scale_entry) {
    folder.write("config.json", config);
    folder.write("model.safetensors",
                 safetensors(R"({"a.weight":)" + entry("F8_E4M3", "[2,256]", "[0,512]") + scale_entry + "}", bytes + scales));
    return ModelFile::open(folder.path.string());
  };
  std::string config = R"({"quantization_config":{"quant_method":"fp8","weight_block_size":[1,128]}})";
  std::string inverse = R"(,"a.weight_scale_inv":)" + entry("F32", "[2,2]", "[512,528]");
  TestFolder folder("safetensors-fp8");
  auto model = folder_with(folder, config, inverse);
  CHECK(model->tensors.size() == 1);
  const Tensor& tensor = model->require("a.weight", {2, 256});
  std::vector<uint8_t> scratch;
  std::vector<float> values(512);
  for (uint64_t r = 0; r < 2; r++) decode_row(*tensor.format, tensor.row(r, scratch), 0, 256, &values[r * 256]);
  CHECK(std::memcmp(values.data(), expected.data(), expected.size()) == 0);

  // One for a row, one for all: the scale of the first block.
  auto row = folder_with(folder, config, R"(,"a.weight_scale":)" + entry("F32", "[2,1]", "[512,520]"));
  const Tensor& by_row = row->require("a.weight", {2, 256});
  decode_row(*by_row.format, by_row.row(0, scratch), 0, 256, &values[0]);
  CHECK(std::memcmp(values.data(), expected.data(), 512) == 0);
  auto all = folder_with(folder, config, R"(,"a.weight_scale":)" + entry("F32", "[]", "[512,516]"));
  CHECK(all->require("a.weight", {2, 256}).scales->values.size() == 1);

  check_fails(VKMOE_ERROR_BAD_FILE, {"'a.weight'", "F8_E4M3", "a.weight_scale_inv"},
              [&] { folder_with(folder, config, ""); });
  check_fails(VKMOE_ERROR_UNSUPPORTED, {"a.weight_scale_inv", "(3, 1)"},
              [&] { folder_with(folder, config, R"(,"a.weight_scale_inv":)" + entry("F32", "[3,1]", "[512,524]")); });
  check_fails(VKMOE_ERROR_UNSUPPORTED, {"quantization_config", "gptq"},
              [&] { folder_with(folder, R"({"quantization_config":{"quant_method":"gptq"}})", inverse); });
}
