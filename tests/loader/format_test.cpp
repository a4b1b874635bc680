#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/numeric.h"
#include "loader/format.h"
#include "test_files.h"

using namespace vkmoe;

TEST_CASE("formats decode to the same bits as gguf-py") {
  for (const Format* format : all_formats()) {
    std::string name = format->name;
    CAPTURE(name);
    CHECK(find_format(name) == format);
    if (format->ggml_type != no_ggml_type) {
      CHECK(find_format(format->ggml_type) == format);
      CHECK(name == ggml_type_name(format->ggml_type));
    }
    std::string blocks = read_file(data_path("quants/" + name + ".blocks"));
    std::string expected = read_file(data_path("quants/" + name + ".values"));
    REQUIRE(expected.size() == 2 * 256 * 4);
    REQUIRE(blocks.size() == 2 * row_bytes(*format, 256));
    std::vector<float> values(512);
    auto row = reinterpret_cast<const uint8_t*>(blocks.data());
    decode_row(*format, row, 0, 256, &values[0]);
    decode_row(*format, row + row_bytes(*format, 256), 0, 256, &values[256]);
    CHECK(std::memcmp(values.data(), expected.data(), expected.size()) == 0);

    if (format->block_elems > 64) continue;
    float middle[64];  // a part of a row
    decode_row(*format, row, 64, 64, middle);
    CHECK(std::memcmp(middle, &values[64], sizeof middle) == 0);
  }
}

TEST_CASE("all types of the table") {
  std::vector<std::string> names;
  for (const Format* format : all_formats()) names.push_back(format->name);
  std::sort(names.begin(), names.end());
  std::vector<std::string> expected = {
      "BF16", "F16", "F32", "F8_E4M3", "IQ1_M", "IQ1_S", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ3_S", "IQ3_XXS", "IQ4_NL",
      "IQ4_XS", "MXFP4", "NVFP4", "Q2_K", "Q3_K", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K",
      "Q8_0", "TQ1_0", "TQ2_0"};
  CHECK(names == expected);
}

// Which bits on the device, quads first, are 0 where a block's are all 1 but this one. (Not the other way round: E2M1's zero
// loses its sign.)
static std::vector<size_t> device_bits(const Format& format, size_t file_bytes, size_t bit) {
  std::vector<uint8_t> blocks(file_bytes, 0xff), quads(format.quads * 16), tail(format.tail_bytes + 1);
  blocks[bit / 8] = uint8_t(~(1 << bit % 8));
  format.split(blocks.data(), quads.data(), tail.data());
  CHECK(tail.back() == 0);
  quads.insert(quads.end(), tail.begin(), tail.end() - 1);
  std::vector<size_t> found;
  for (size_t i = 0; i < quads.size() * 8; ++i)
    if (!(quads[i / 8] >> i % 8 & 1)) found.push_back(i);
  return found;
}

TEST_CASE("the device's layout keeps every bit of a block, each in a place of its own") {
  for (const Format* format : all_formats()) {
    CAPTURE(format->name);
    uint64_t file_bytes = row_bytes(*format, format->device_elems);
    REQUIRE(file_bytes == format->quads * 16 + format->tail_bytes);
    std::vector<int> taken(file_bytes * 8);
    for (size_t bit = 0; bit < file_bytes * 8; ++bit)
      for (size_t place : device_bits(*format, file_bytes, bit)) ++taken[place];
    CHECK(std::count(taken.begin(), taken.end(), 1) == int64_t(taken.size()));
  }
}

TEST_CASE("MXFP4: every scale; NVFP4: every scale") {
  const Format &mxfp4 = *find_format("MXFP4"), &nvfp4 = *find_format("NVFP4");
  for (int e = 0; e < 256; ++e) {
    CAPTURE(e);
    uint8_t block[36] = {uint8_t(e), 0x72};  // 1 and 6
    float values[64];
    mxfp4.decode(block, values);
    if (e < 255) CHECK(double(values[0]) == std::ldexp(1.0, e - 127));
    if (e < 252) CHECK(double(values[16]) == std::ldexp(6.0, e - 127));

    uint8_t scales[36] = {uint8_t(e), uint8_t(e), uint8_t(e), uint8_t(e), 0xf2};  // 1 and -6
    nvfp4.decode(scales, values);
    int exponent = e >> 3 & 15, mantissa = e & 7;
    double scale = e == 0x7f ? 0 : exponent ? std::ldexp(8 + mantissa, exponent - 10) : std::ldexp(mantissa, -9);
    CHECK(double(values[0]) == scale);
    CHECK(double(values[8]) == -6 * scale);
  }
}

TEST_CASE("F16: every value") {
  const Format& format = *find_format("F16");
  int wrong = 0;
  for (uint32_t bits = 0; bits < 0x10000; bits++) {
    uint8_t block[2] = {uint8_t(bits), uint8_t(bits >> 8)};
    float value;
    format.decode(block, &value);
    int exponent = int(bits >> 10 & 31), mantissa = int(bits & 1023);
    double expected = exponent == 31  ? (mantissa ? NAN : INFINITY)
                      : exponent == 0 ? std::ldexp(mantissa, -24)
                                      : std::ldexp(mantissa + 1024, exponent - 25);
    if (bits & 0x8000) expected = -expected;
    bool same = std::isnan(expected) ? std::isnan(value)
                                     : double(value) == expected && std::signbit(value) == std::signbit(expected);
    wrong += !same;
  }
  CHECK(wrong == 0);
}

TEST_CASE("formats that are not known, ranges that are not whole blocks") {
  CHECK(find_format("Q9_9") == nullptr);
  CHECK(find_format(4) == nullptr);  // Q4_2, retired
  CHECK(find_format(UINT32_MAX) == nullptr);
  CHECK(ggml_type_name(12) == std::string("Q4_K"));
  CHECK(ggml_type_name(39) == std::string("MXFP4"));
  CHECK(ggml_type_name(1000) == nullptr);
  uint8_t row[68] = {};
  float values[64];
  check_fails(VKMOE_ERROR_INTERNAL, {"Q8_0", "16"}, [&] { decode_row(*find_format("Q8_0"), row, 16, 32, values); });
  check_fails(VKMOE_ERROR_INTERNAL, {"Q8_0", "33"}, [&] { decode_row(*find_format("Q8_0"), row, 0, 33, values); });
}
