#include "gguf_writer.h"

#include <chrono>
#include <functional>

#include "loader/model_file.h"
#include "test_files.h"

using namespace vkmoe;

namespace {

template <class T>
std::string raw(T value) {
  return GgufWriter::raw(value);
}

std::shared_ptr<ModelFile> open_bytes(const TestFolder& folder, const std::string& bytes) {
  return ModelFile::open(folder.write("model.gguf", bytes));
}

// One error for each: the message, and the file that earns it.
void check_bad(std::initializer_list<const char*> parts, const std::function<void(GgufWriter&)>& build,
               vkmoe_status status = VKMOE_ERROR_BAD_FILE) {
  TestFolder folder("gguf-bad");
  GgufWriter writer;
  build(writer);
  std::string bytes = writer.bytes();
  auto start = std::chrono::steady_clock::now();
  check_fails(status, parts, [&] { open_bytes(folder, bytes); });
  check_fails(status, {"model.gguf"}, [&] { open_bytes(folder, bytes); });
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(1));
}

}  // namespace

TEST_CASE("GGUF: metadata of every type, tensors of every format") {
  TestFolder folder("gguf");
  for (uint32_t version : {2u, 3u}) {
    for (uint32_t alignment : {8u, 32u, 4096u}) {
      GgufWriter writer;
      writer.version = version;
      writer.alignment = alignment;
      writer.kv("u8", 0, raw(uint8_t(200))).kv("i8", 1, raw(int8_t(-5))).kv("u16", 2, raw(uint16_t(60000)));
      writer.kv("i16", 3, raw(int16_t(-30000))).u32("u32", 4000000000u).kv("i32", 5, raw(int32_t(-2000000000)));
      writer.f32("f32", 0.25f).boolean("bool", true).string("string", "caf\xc3\xa9").string("bytes", "\xff\0x");
      writer.kv("u64", 10, raw(UINT64_MAX)).kv("i64", 11, raw(INT64_MIN)).kv("f64", 12, raw(1e300));
      writer.strings("strings", {"a", "", "b c"}).i32s("i32s", {1, -2});
      std::string inner = raw(uint32_t(0)) + raw(uint64_t(2)) + "\1\2";
      writer.kv("nested", 9, raw(uint32_t(9)) + raw(uint64_t(2)) + inner + inner);
      writer.tensor("a", {4, 3}, 0, std::string(48, 'a'));
      writer.tensor("b", {64, 2, 3}, 8, std::string(68 * 6, 'b'));
      writer.tensor("c", {32}, 2, std::string(18, 'c')).tensor("d", {1, 2, 3, 4}, 30, std::string(48, 'd'));
      auto model = open_bytes(folder, writer.bytes());

      const auto& m = model->metadata;
      CHECK(m["u8"] == 200);
      CHECK(m["i8"] == -5);
      CHECK(m["u16"] == 60000);
      CHECK(m["i16"] == -30000);
      CHECK(m["u32"] == 4000000000u);
      CHECK(m["i32"] == -2000000000);
      CHECK(m["f32"] == 0.25);
      CHECK(m["bool"] == true);
      CHECK(m["string"] == "caf\xc3\xa9");
      CHECK(m["bytes"].get<std::string>() == std::string("\xff", 1));
      CHECK(m["u64"] == UINT64_MAX);
      CHECK(m["i64"] == INT64_MIN);
      CHECK(m["f64"] == 1e300);
      CHECK(m["strings"] == nlohmann::json{"a", "", "b c"});
      CHECK(m["i32s"] == nlohmann::json{1, -2});
      CHECK(m["nested"] == nlohmann::json{{1, 2}, {1, 2}});

      CHECK(model->tensors.size() == 4);
      CHECK(model->require("a", {3, 4}).data[47] == 'a');
      const Tensor& b = model->require("b", {3, 2, 64});
      CHECK(b.format == find_format("Q8_0"));
      CHECK(b.size_bytes == 68 * 6);
      CHECK(b.elems() == 384);
      CHECK(std::string(b.data, b.data + b.size_bytes) == std::string(68 * 6, 'b'));
      CHECK(model->require("c", {32}).data[17] == 'c');
      CHECK(model->require("d", {4, 3, 2, 1}).format == find_format("BF16"));
      CHECK(model->find("e") == nullptr);
    }
  }
}

TEST_CASE("GGUF: a missing tensor and a wrong shape are named") {
  TestFolder folder("gguf-require");
  auto model = open_bytes(folder, GgufWriter().tensor("a", {4, 3}, 0, std::string(48, 'a')).bytes());
  check_fails(VKMOE_ERROR_BAD_FILE, {"model.gguf", "'a'", "(4, 3)", "(3, 4)"}, [&] { model->require("a", {4, 3}); });
  check_fails(VKMOE_ERROR_BAD_FILE, {"model.gguf", "'b'", "(7)", "missing"}, [&] { model->require("b", {7}); });
}

TEST_CASE("GGUF: versions and byte orders that are not read") {
  check_bad({"version 1 "}, [](GgufWriter& w) { w.version = 1; }, VKMOE_ERROR_UNSUPPORTED);
  check_bad({"version 4 "}, [](GgufWriter& w) { w.version = 4; }, VKMOE_ERROR_UNSUPPORTED);
  check_bad({"big-endian"}, [](GgufWriter& w) { w.version = 0x03000000; }, VKMOE_ERROR_UNSUPPORTED);
  TestFolder folder("gguf-magic");
  check_fails(VKMOE_ERROR_BAD_FILE, {"magic 'GGUF'"}, [&] { open_bytes(folder, "GGML" + std::string(40, '\0')); });
  check_fails(VKMOE_ERROR_BAD_FILE, {"header", "found 0"}, [&] { open_bytes(folder, ""); });
  std::string nothing = (folder.path / "nothing.gguf").string();
  check_fails(VKMOE_ERROR_NOT_FOUND, {"nothing.gguf"}, [&] { ModelFile::open(nothing); });
}

TEST_CASE("GGUF: claims that the file cannot hold") {
  check_bad({"1152921504606846976 tensors"}, [](GgufWriter& w) { w.claimed_tensors = int64_t(1) << 60; });
  check_bad({"1152921504606846976 key-values"}, [](GgufWriter& w) { w.claimed_kvs = int64_t(1) << 60; });
  check_bad({"key 'k'", "9223372036854775808"}, [](GgufWriter& w) { w.kv("k", 8, raw(uint64_t(1) << 63)); });
  check_bad({"key 'k'", "4611686018427387904 values"},
            [](GgufWriter& w) { w.kv("k", 9, raw(uint32_t(0)) + raw(uint64_t(1) << 62)); });
  check_bad({"key 'k'", "values in all"}, [](GgufWriter& w) {
    w.kv("k", 9, raw(uint32_t(0)) + raw(uint64_t(20'000'000)) + std::string(20'000'000, 'x'));
  });
  check_bad({"key 'k'", "type", "13"}, [](GgufWriter& w) { w.kv("k", 13, raw(uint64_t(0))); });
  check_bad({"key 'k'", "type", "99"}, [](GgufWriter& w) { w.kv("k", 9, raw(uint32_t(99)) + raw(uint64_t(0))); });
  check_bad({"key 'k'", "boolean", "2"}, [](GgufWriter& w) { w.kv("k", 7, raw(uint8_t(2))); });
  check_bad({"key 'k'", "twice"}, [](GgufWriter& w) { w.u32("k", 1).u32("k", 2); });
  check_bad({"key 'k'", "nested deeper than"}, [](GgufWriter& w) {
    std::string deep;
    for (int i = 0; i < 100'000; i++) deep += raw(uint32_t(9)) + raw(uint64_t(1));
    w.kv("k", 9, deep + raw(uint32_t(0)) + raw(uint64_t(0)));
  });
  check_bad({"general.alignment", "power of two", "0"}, [](GgufWriter& w) { w.u32("general.alignment", 0); });
  check_bad({"general.alignment", "power of two", "24"}, [](GgufWriter& w) { w.u32("general.alignment", 24); });
  check_bad({"general.alignment", "power of two", "string"},
            [](GgufWriter& w) { w.string("general.alignment", "x"); });
}

TEST_CASE("GGUF: tensors that do not fit") {
  std::string data(256, 'x');
  check_bad({"'t'", "dimensions", "5"}, [&](GgufWriter& w) { w.tensor("t", {1, 1, 1, 1, 1}, 0, data); });
  check_bad({"'t'", "dimension 1", "zero"}, [&](GgufWriter& w) { w.tensor("t", {4, 0}, 0, data); });
  check_bad({"'t'", "2^64"}, [&](GgufWriter& w) { w.tensor("t", {1ull << 33, 1ull << 33}, 0, data); });
  check_bad({"'t'", "2^64 bytes"}, [&](GgufWriter& w) { w.tensor("t", {1ull << 32, 1ull << 31}, 0, data); });
  check_bad({"'t'", "18446744073709551612"}, [&](GgufWriter& w) { w.tensor("t", {(1ull << 62) - 1}, 0, data); });
  check_bad({"'t'", "Q8_0's block of 32", "48"}, [&](GgufWriter& w) { w.tensor("t", {48, 2}, 8, data); });
  check_bad({"'t'", "offset", "multiple of 32", "16"}, [&](GgufWriter& w) { w.tensor("t", {4}, 0, data, 16); });
  check_bad({"'t'", "260 bytes", "256"}, [&](GgufWriter& w) { w.tensor("t", {65}, 0, data); });
  check_bad({"'t'", "16 bytes", "offset 256"}, [&](GgufWriter& w) { w.tensor("t", {4}, 0, data, 256); });
  check_bad({"'t'", "offset 9223372036854775776"},
            [&](GgufWriter& w) { w.tensor("t", {4}, 0, data, INT64_MAX & ~31); });
  check_bad({"'t'", "twice"}, [&](GgufWriter& w) { w.tensor("t", {4}, 0, data).tensor("t", {4}, 0, data); });
  check_bad({"'u'", "overlaps", "'t'"},
            [&](GgufWriter& w) { w.tensor("t", {64}, 0, data).tensor("u", {4}, 0, "", 224); });
  check_bad({"'overlap'", "overlaps"},
            [&](GgufWriter& w) { w.tensor("t", {64}, 0, data).tensor("overlap", {64}, 0, "", 0); });
  check_bad({"'t'", "ggml type 15", "Q8_K"}, [&](GgufWriter& w) { w.tensor("t", {256}, 15, data); },
            VKMOE_ERROR_UNSUPPORTED);
  check_bad({"'t'", "ggml type 77", "unknown"}, [&](GgufWriter& w) { w.tensor("t", {256}, 77, data); },
            VKMOE_ERROR_UNSUPPORTED);
}

namespace {

std::string part(uint16_t no, uint16_t count, const std::string& tensor) {
  return GgufWriter().kv("split.no", 2, raw(no)).kv("split.count", 2, raw(count)).u32("number", no)
      .tensor(tensor, {4}, 0, std::string(16, char('a' + no))).bytes();
}

}  // namespace

TEST_CASE("GGUF: split files") {
  TestFolder folder("gguf-split");
  std::string first = folder.write("m-00001-of-00003.gguf", part(0, 3, "a"));
  folder.write("m-00002-of-00003.gguf", part(1, 3, "b"));
  check_fails(VKMOE_ERROR_NOT_FOUND, {"m-00003-of-00003.gguf", "part 3 of 3", "missing"},
              [&] { ModelFile::open(first); });
  std::string last = folder.write("m-00003-of-00003.gguf", part(2, 3, "c"));
  for (const std::string& path : {first, last}) {
    auto model = ModelFile::open(path);
    CHECK(model->tensors.size() == 3);
    CHECK(model->files.size() == 3);
    CHECK(model->require("c", {4}).data[0] == 'c');
    CHECK(model->metadata["number"] == 0);
  }
  check_fails(VKMOE_ERROR_UNSUPPORTED, {"m-00001", "split into 3"},
              [&] { ModelFile::open_gguf(MappedFile::open(first)); });
  folder.write("m-00003-of-00003.gguf", part(2, 3, "b"));
  check_fails(VKMOE_ERROR_BAD_FILE, {"m-00003", "'b'", "twice"}, [&] { ModelFile::open(first); });
  folder.write("m-00003-of-00003.gguf", part(1, 3, "c"));
  check_fails(VKMOE_ERROR_BAD_FILE, {"m-00003", "split.no 2", "found 1"}, [&] { ModelFile::open(first); });
  std::string other = folder.write("other.gguf", part(0, 3, "a"));
  check_fails(VKMOE_ERROR_BAD_FILE, {"other.gguf", "-00001-of-00003.gguf"}, [&] { ModelFile::open(other); });
}

TEST_CASE("GGUF: a file cut or changed anywhere either loads or fails with a message") {
  TestFolder folder("gguf-mutated");
  GgufWriter writer;
  writer.string("general.architecture", "x").strings("s", {"a", "bc"}).i32s("n", {1, 2, 3}).boolean("b", false);
  writer.tensor("t", {32, 2}, 8, std::string(68, 'q')).tensor("u", {3}, 0, std::string(12, 'f'));
  const std::string bytes = writer.bytes();
  int loaded = 0, failed = 0;
  auto attempt = [&](const std::string& mutated) {
    try {
      auto model = open_bytes(folder, mutated);
      uint64_t sum = 0;  // what loads can be read to its end
      for (const auto& [name, tensor] : model->tensors)
        for (uint64_t i = 0; i < tensor.size_bytes; i++) sum += tensor.data[i];
      loaded += sum != UINT64_MAX;
    } catch (const Error& error) {
      failed += std::string(error.what()).find("model.gguf") != std::string::npos;
    }
  };
  for (size_t length = 0; length < bytes.size(); length++) attempt(bytes.substr(0, length));
  CHECK(failed == int(bytes.size() - 20));  // 20 bytes of padding end the file
  CHECK(loaded == 20);
  loaded = failed = 0;
  for (size_t at = 0; at < bytes.size(); at++)
    for (int flip : {0x01, 0x80, 0xff}) {
      std::string mutated = bytes;
      mutated[at] = char(mutated[at] ^ flip);
      attempt(mutated);
    }
  CHECK(loaded + failed == int(3 * bytes.size()));
  CHECK(failed > 100);
}
