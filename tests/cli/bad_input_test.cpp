// Each bad input gives one clear line on standard error and an exit code other than 0.
#include "gguf_editor.h"
#include "process.h"

namespace {

const std::string goldens = source_dir + "/tests/data/goldens/";
const std::string small_gguf = goldens + "qwen3_moe/model-q8_0.gguf";
const std::string default_gguf = source_dir + "/models/vkmoe-default.gguf";

// Loads the file in the way each command does and expects a failure that names it.
void check_bad_model(const std::string& path, std::vector<std::string> parts) {
  parts.push_back(path);
  Scratch scratch;
  write_file(scratch / "ids", "1 2 3");
  check_failure(vkmoe({"inspect", path}), parts);
  check_failure(vkmoe({"logits", "-m", path, "--ids", scratch / "ids", "-o", scratch / "out.npy"}), parts);
  check_failure(vkmoe({"logits", "--reference", "-m", path, "--ids", scratch / "ids", "-o", scratch / "out.npy"}),
                parts);
  CHECK(!fs::exists(scratch / "out.npy"));
}

// A GGUF changed by `edit`.
template <class Edit>
void check_bad_gguf(const std::vector<std::string>& parts, Edit&& edit) {
  Scratch scratch;
  GgufEditor file(read_file(small_gguf));
  edit(file);
  write_file(scratch / "bad.gguf", file.bytes);
  check_bad_model(scratch / "bad.gguf", parts);
}

}  // namespace

TEST_CASE("no such file") {
  check_bad_model("/no/such/model.gguf", {});
  check_failure(vkmoe({"run", "-m", "/no/such/model.gguf", "Hi"}), {"/no/such/model.gguf"});
  check_failure(vkmoe({"run", "Hi"}, {{"VKMOE_MODEL", "/no/such/model.gguf"}}), {"/no/such/model.gguf"});
  check_failure(vkmoe({"tokenize", "-m", small_gguf, "-f", "/no/such/text"}), {"/no/such/text", "No such file"});
  check_failure(vkmoe({"perplexity", "-m", small_gguf, "-f", "/no/such/text"}), {"/no/such/text", "No such file"});
  check_failure(vkmoe({"logits", "-m", small_gguf, "--ids", "/no/such/ids", "-o", "/no/out"}), {"/no/such/ids"});
  check_failure(vkmoe({"tokenize", "-m", small_gguf, "-f", "/"}), {"is a folder"});
}

TEST_CASE("a file that is no model") {
  Scratch scratch;
  write_file(scratch / "text.gguf", "This is not a model, though it is longer than a header is.");
  check_bad_model(scratch / "text.gguf", {"GGUF"});
  write_file(scratch / "empty.gguf", "");
  check_bad_model(scratch / "empty.gguf", {});
  fs::create_directory(scratch.path / "folder");
  check_bad_model(scratch / "folder", {"config.json"});
}

TEST_CASE("a truncated GGUF") {
  const std::string whole = read_file(small_gguf);
  for (size_t size : {size_t(3), size_t(20), size_t(30), size_t(5000), whole.size() / 2, whole.size() - 1}) {
    CAPTURE(size);
    check_bad_gguf({}, [&](GgufEditor& file) { file.bytes.resize(size); });
  }
}

TEST_CASE("a GGUF that claims 2^60 tensors, keys or letters") {
  const uint64_t many = uint64_t(1) << 60;
  check_bad_gguf({"1152921504606846976", "tensors"}, [&](GgufEditor& file) { file.set<uint64_t>(8, many); });
  check_bad_gguf({"1152921504606846976"}, [&](GgufEditor& file) { file.set<uint64_t>(16, many); });
  check_bad_gguf({"1152921504606846976"}, [&](GgufEditor& file) { file.set<uint64_t>(24, many); });
}

TEST_CASE("a tensor whose offset lies") {
  for (uint64_t offset : {uint64_t(1) << 20, ~uint64_t(0) - 31, uint64_t(1) << 63, uint64_t(33)}) {
    CAPTURE(offset);
    check_bad_gguf({"blk.1.ffn_norm.weight", std::to_string(offset)},
                   [&](GgufEditor& file) { file.set(file.tensors.at("blk.1.ffn_norm.weight").offset, offset); });
  }
}

TEST_CASE("a tensor whose shape lies") {
  for (uint64_t columns : {uint64_t(0), uint64_t(96), uint64_t(65), uint64_t(1) << 40, ~uint64_t(0)}) {
    CAPTURE(columns);
    check_bad_gguf({"blk.1.attn_q.weight"},
                   [&](GgufEditor& file) { file.set(file.tensors.at("blk.1.attn_q.weight").shape, columns); });
  }
  // Fits in the file, but not in the model.
  check_bad_gguf({"blk.1.attn_q.weight", "(64, 64)"},
                 [&](GgufEditor& file) { file.set<uint64_t>(file.tensors.at("blk.1.attn_q.weight").shape + 8, 64); });
}

TEST_CASE("a missing tensor") {
  check_bad_gguf({"blk.1.ffn_norm.weight"},
                 [](GgufEditor& file) { file.bytes[file.tensors.at("blk.1.ffn_norm.weight").name + 6] = 'x'; });
}

TEST_CASE("an unknown architecture or type") {
  check_bad_gguf({"architecture", "qwen9moe"},
                 [](GgufEditor& file) { file.bytes[file.values.at("general.architecture") + 8 + 4] = '9'; });
  check_bad_gguf({"blk.0.attn_q.weight", "type 99"},
                 [](GgufEditor& file) { file.set<uint32_t>(file.tensors.at("blk.0.attn_q.weight").type, 99); });
  check_bad_gguf({"version 7"}, [](GgufEditor& file) { file.set<uint32_t>(4, 7); });
}

TEST_CASE("a bad Hugging Face folder") {
  Scratch scratch;
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"}) {
    fs::copy_file(goldens + "mixtral/" + name, scratch.path / name);
  }
  const std::string config = read_file(scratch / "config.json"), tensors = read_file(scratch / "model.safetensors");
  std::string other = config;
  other.replace(other.find("\"mixtral\""), 9, "\"mixtrax\"");
  write_file(scratch / "config.json", other);
  check_bad_model(scratch.path.string(), {"mixtrax"});
  write_file(scratch / "config.json", config.substr(0, config.size() / 2));
  check_bad_model(scratch.path.string(), {"config.json"});
  write_file(scratch / "config.json", config);
  write_file(scratch / "model.safetensors", tensors.substr(0, tensors.size() - 1));
  check_bad_model(scratch.path.string(), {"model.safetensors"});
  write_file(scratch / "model.safetensors", std::string("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", 8) + tensors.substr(8));
  check_bad_model(scratch.path.string(), {"model.safetensors"});
}

TEST_CASE("a prompt longer than the context") {
  Scratch scratch;
  std::string ids = "1";
  for (int i = 1; i < 600; ++i) ids += " 7";
  write_file(scratch / "ids", ids);
  check_failure(vkmoe({"logits", "-m", small_gguf, "--ids", scratch / "ids", "-o", scratch / "out.npy"}),
                {"600", "512"});
  CHECK(!fs::exists(scratch / "out.npy"));
  check_failure(vkmoe({"run", "-m", default_gguf, "-c", "10", "What is a lighthouse?"}), {"16", "10"});
  check_failure(vkmoe({"run", "-m", default_gguf, "-c", "8", "What is a lighthouse?"}), {"16", "8"});
  check_failure(vkmoe({"bench", "-m", default_gguf, "-p", "500", "-n", "20"}), {"521", "512"});
}

TEST_CASE("no Vulkan driver at all") {
  const Environment no_driver = {{"VK_ICD_FILENAMES", "/no/such/driver.json"},
                                 {"VK_DRIVER_FILES", "/no/such/driver.json"},
                                 {"VKMOE_VALIDATION", "0"}};
  check_failure(vkmoe({"run", "-m", default_gguf, "Hi"}, no_driver), {"Vulkan"});
  check_failure(vkmoe({"devices"}, no_driver), {"Vulkan"});
  // The CPU reference needs none.
  const Result answer =
      vkmoe({"run", "--reference", "-m", default_gguf, "-n", "3", "What is a lighthouse?"}, no_driver);
  check_success(answer);
  CHECK(answer.out.find("Ligh") == 0);
}

TEST_CASE("--device that matches nothing") {
  check_failure(vkmoe({"run", "-m", default_gguf, "--device", "no such device", "Hi"}), {"no such device"});
  check_failure(vkmoe({"run", "-m", default_gguf, "--device", "99", "Hi"}), {"99"});
  check_failure(vkmoe({"run", "-m", default_gguf, "Hi"}, {{"VKMOE_DEVICE", "no such device"}}), {"no such device"});
}

TEST_CASE("an unreadable cache folder") {
  Scratch scratch;
  write_file(scratch / "file", "not a folder");
  for (const char* name : {"file", "file/cache"}) {
    check_failure(vkmoe({"run", "-m", default_gguf, "Hi"}, {{"VKMOE_CACHE_DIR", scratch / name}}),
                  {"VKMOE_CACHE_DIR", scratch / name});
  }
  if (geteuid() == 0) return;  // whom no permission stops
  fs::create_directory(scratch.path / "closed");
  fs::permissions(scratch.path / "closed", fs::perms::none);
  check_failure(vkmoe({"run", "-m", default_gguf, "Hi"}, {{"VKMOE_CACHE_DIR", scratch / "closed"}}), {"closed"});
}

TEST_CASE("bad token ids and options") {
  Scratch scratch;
  const auto logits = [&](const std::string& ids, const std::string& out = "out.npy") {
    write_file(scratch / "ids", ids);
    return vkmoe({"logits", "-m", small_gguf, "--ids", scratch / "ids", "-o", scratch / out});
  };
  check_failure(logits("1 2 512"), {"id 2", "512", "511"});
  check_failure(logits("1 -1"), {"id 1", "-1"});
  check_failure(logits("1 99999999999999999999"), {"id 1"});
  check_failure(logits("1 two"), {"two"});
  check_failure(logits("1 2.5"), {"2.5"});
  check_failure(logits(" \n"), {"no token ids"});
  check_failure(logits("1 2", "no/such/folder/out.npy"), {"no/such/folder/out.npy"});
  CHECK(fs::directory_iterator(scratch.path) != fs::directory_iterator());
  for (const auto& entry : fs::directory_iterator(scratch.path)) CHECK(entry.path().filename() == "ids");

  check_failure(vkmoe({}), {"--help"}, 2);
  check_failure(vkmoe({"frobnicate"}), {"frobnicate"}, 2);
  check_failure(vkmoe({"run"}), {"prompt"}, 2);
  check_failure(vkmoe({"run", "Hi", "--frobnicate"}), {"--frobnicate"}, 2);
  check_failure(vkmoe({"run", "Hi", "-n", "many"}), {"many"}, 2);
  check_failure(vkmoe({"run", "Hi", "--temp", "-1"}), {"--temp"}, 2);
  check_failure(vkmoe({"logits", "--ids", "x"}), {"--output"}, 2);
  check_failure(vkmoe({"perplexity", "-m", small_gguf, "-f", "-"}, {}, "a"), {"fewer than two tokens"});
}
