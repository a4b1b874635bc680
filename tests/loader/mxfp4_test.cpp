// MXFP4 of gpt-oss's safetensors: scales and blocks apart, joined to rows of the loader's format.
#include <cmath>

#include "gguf_writer.h"
#include "loader/model_file.h"
#include "test_files.h"

using namespace vkmoe;

namespace {

// A folder with arrays of U8, X_blocks and X_scales of the given shapes.
std::string write_model(const TestFolder& folder, const std::string& blocks_shape, size_t n_blocks,
                        const std::string& scales_name, const std::string& scales_shape, size_t n_scales,
                        const std::string& dtype = "U8") {
  folder.write("config.json", R"({"quantization_config":{"quant_method":"mxfp4"}})");
  std::string data;
  for (size_t i = 0; i < n_blocks; ++i) data += char(i * 37 + 5);
  for (size_t i = 0; i < n_scales; ++i) data += char(120 + i);
  std::string header = R"({"X_blocks":{"dtype":")" + dtype + R"(","shape":)" + blocks_shape + R"(,"data_offsets":[0,)" +
                       std::to_string(n_blocks) + R"(]},")" + scales_name + R"(":{"dtype":"U8","shape":)" + scales_shape +
                       R"(,"data_offsets":[)" + std::to_string(n_blocks) + "," + std::to_string(data.size()) + "]}}";
  folder.write("model.safetensors", GgufWriter::raw(uint64_t(header.size())) + header + data);
  return folder.path.string();
}

}  // namespace

TEST_CASE("MXFP4 of safetensors: rows hold the values of blocks times scales") {
  TestFolder folder("mxfp4");
  auto model = ModelFile::open(write_model(folder, "[2,3,2,16]", 192, "X_scales", "[2,3,2]", 12));
  const Tensor& tensor = model->require("X_blocks", {2, 3, 64});
  CHECK(tensor.format == find_format("MXFP4"));
  CHECK(tensor.size_bytes == 204);
  CHECK(model->skipped.empty());
  const float e2m1[16] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  std::vector<uint8_t> scratch;
  for (uint64_t row = 0; row < 6; ++row) {
    std::vector<float> values(64);
    decode_row(*tensor.format, tensor.row(row, scratch), 0, 64, values.data());
    for (uint64_t i = 0; i < 64; ++i) {
      uint8_t byte = uint8_t((row * 32 + i / 2) * 37 + 5);  // two values a byte, the lower half first
      CHECK(values[i] == std::ldexp(e2m1[i % 2 ? byte >> 4 : byte & 15], int(120 + row * 2 + i / 32) - 127));
    }
  }
}

TEST_CASE("MXFP4 of safetensors: arrays that do not fit together are refused") {
  TestFolder folder("mxfp4-bad");
  auto open = [&] { ModelFile::open(folder.path.string()); };
  write_model(folder, "[2,3,2,16]", 192, "Y_scales", "[2,3,2]", 12);
  check_fails(VKMOE_ERROR_BAD_FILE, {"'X_blocks'", "'X_scales'", "missing"}, open);
  write_model(folder, "[2,3,2,16]", 192, "X_scales", "[2,6]", 12);
  check_fails(VKMOE_ERROR_BAD_FILE, {"'X_scales'", "(2, 3, 2)", "(2, 6)"}, open);
  write_model(folder, "[2,3,4,8]", 192, "X_scales", "[2,3,2]", 12);
  check_fails(VKMOE_ERROR_BAD_FILE, {"'X_blocks'", "16", "(2, 3, 4, 8)"}, open);
  write_model(folder, "[2,3,2,16]", 192, "X_scales", "[2,3,2]", 12, "I8");
  check_fails(VKMOE_ERROR_BAD_FILE, {"'X_blocks'", "U8", "I8"}, open);
  folder.write("config.json", R"({"quantization_config":{"quant_method":"awq"}})");
  check_fails(VKMOE_ERROR_UNSUPPORTED, {"config.json", "quant_method", "awq", "mxfp4"}, open);
}
