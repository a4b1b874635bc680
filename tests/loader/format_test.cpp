#include <cmath>
#include <cstring>
#include <vector>

#include "base/numeric.h"
#include "loader/format.h"
#include "test_files.h"

using namespace vkmoe;

namespace {
const char* const names[] = {"F32", "F16", "BF16", "Q8_0", "Q4_0"};
}

TEST_CASE("formats decode to the same bits as gguf-py") {
  for (std::string name : names) {
    CAPTURE(name);
    const Format* format = find_format(name);
    REQUIRE(format);
    CHECK(find_format(format->ggml_type) == format);
    CHECK(name == ggml_type_name(format->ggml_type));
    std::string blocks = read_file(data_path("quants/" + name + ".blocks"));
    std::string expected = read_file(data_path("quants/" + name + ".values"));
    REQUIRE(expected.size() == 2 * 256 * 4);
    REQUIRE(blocks.size() == 2 * row_bytes(*format, 256));
    std::vector<float> values(512);
    auto row = reinterpret_cast<const uint8_t*>(blocks.data());
    decode_row(*format, row, 0, 256, &values[0]);
    decode_row(*format, row + row_bytes(*format, 256), 0, 256, &values[256]);
    CHECK(std::memcmp(values.data(), expected.data(), expected.size()) == 0);

    float middle[64];  // a part of a row
    decode_row(*format, reinterpret_cast<const uint8_t*>(blocks.data()), 96, 64, middle);
    CHECK(std::memcmp(middle, &values[96], sizeof middle) == 0);
  }
}

TEST_CASE("the device's layout keeps every byte of a block") {
  for (std::string name : names) {
    CAPTURE(name);
    const Format& format = *find_format(name);
    uint64_t file_bytes = row_bytes(format, format.device_elems);
    CHECK(file_bytes == format.quads * 16 + format.tail_bytes);
    std::vector<uint8_t> blocks(file_bytes), quads(format.quads * 16), tail(format.tail_bytes + 1, 0xee);
    for (size_t i = 0; i < blocks.size(); i++) blocks[i] = uint8_t(i * 7 + 1);
    format.split(blocks.data(), quads.data(), tail.data());
    CHECK(tail[format.tail_bytes] == 0xee);
    // All five keep the scale, where there is one, in the tail and the rest in order in the quads.
    CHECK(std::memcmp(tail.data(), blocks.data(), format.tail_bytes) == 0);
    CHECK(std::memcmp(quads.data(), blocks.data() + format.tail_bytes, quads.size()) == 0);
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
  CHECK(find_format(4) == nullptr);
  CHECK(find_format(UINT32_MAX) == nullptr);
  CHECK(ggml_type_name(12) == std::string("Q4_K"));
  CHECK(ggml_type_name(39) == std::string("MXFP4"));
  CHECK(ggml_type_name(1000) == nullptr);
  uint8_t row[68] = {};
  float values[64];
  check_fails(VKMOE_ERROR_INTERNAL, {"Q8_0", "16"}, [&] { decode_row(*find_format("Q8_0"), row, 16, 32, values); });
  check_fails(VKMOE_ERROR_INTERNAL, {"Q8_0", "33"}, [&] { decode_row(*find_format("Q8_0"), row, 0, 33, values); });
}
