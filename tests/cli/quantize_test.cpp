// vkmoe quantize from outside: files, errors, and what is left where it is stopped.
#include "process.h"

namespace {

const std::string default_gguf = source_dir + "/models/vkmoe-default.gguf";
const std::string golden = source_dir + "/tests/data/goldens/qwen3_moe";

size_t count_files(const Scratch& scratch) {
  return size_t(std::distance(fs::directory_iterator(scratch.path), fs::directory_iterator()));
}

// In bash: $1 the program, $2 IN, $3 OUT. The default model takes seconds in this type.
Result run_script(const std::string& script, const Scratch& scratch) {
  return run_command({"bash", "-c", script, "bash", program_path, default_gguf, scratch / "out.gguf"});
}

}  // namespace

TEST_CASE("quantize writes a model that the other commands read") {
  Scratch scratch;
  for (const std::string& in : {golden, golden + "/model-bf16.gguf"}) {
    Result made = vkmoe({"quantize", in, scratch / "out.gguf", "--type", "q8_0", "--experts", "IQ4_NL"});
    check_success(made);
    CHECK(made.out.find("blk.0.ffn_down_exps.weight: rows of 48 values: F16 instead of IQ4_NL\n") != std::string::npos);
    CHECK(made.out.find("out.gguf: ") != std::string::npos);
    Result inspected = vkmoe({"inspect", scratch / "out.gguf", "--json"});
    check_success(inspected);
    const auto model = nlohmann::json::parse(inspected.out);
    std::map<std::string, int> types;
    for (const auto& type : model["tensors"]["by_type"]) types[type["type"]] = type["count"];
    CHECK(types == std::map<std::string, int>{{"F16", 3}, {"F32", 16}, {"IQ4_NL", 6}, {"Q8_0", 14}});
    Result ids = vkmoe({"tokenize", "-m", scratch / "out.gguf", "-f", "-"}, {}, "a tokenizer, too");
    CHECK(ids.out == vkmoe({"tokenize", "-m", golden, "-f", "-"}, {}, "a tokenizer, too").out);
  }
  Result json = vkmoe({"quantize", golden, scratch / "out.gguf", "--type", "BF16", "--json"});
  check_success(json);
  CHECK(nlohmann::json::parse(json.out)["written_bytes"] == fs::file_size(scratch / "out.gguf"));
  CHECK(nlohmann::json::parse(json.out)["notes"].empty());
  check_success(vkmoe({"quantize", golden, scratch / "out.gguf", "--type", "q4_k_m"}));  // what llama.cpp calls it
  CHECK(count_files(scratch) == 1);
}

TEST_CASE("quantize says what is wrong and writes nothing") {
  Scratch scratch;
  const std::string out = scratch / "out.gguf";
  check_failure(vkmoe({"quantize", golden, out, "--type", "Q9_K"}), {"Q9_K", "expected one of F32, F16"});
  check_failure(vkmoe({"quantize", golden, out, "--type", "IQ1_S"}), {"IQ1_S", "Q4_K"});
  check_failure(vkmoe({"quantize", golden, out, "--type", "Q8_0", "--shared", "x"}), {"shared", "'x'"});
  check_failure(vkmoe({"quantize", golden, out}), {"--type"}, 2);
  check_failure(vkmoe({"quantize", "/no/such/model", out, "--type", "Q8_0"}), {"/no/such/model"});
  check_failure(vkmoe({"quantize", golden, "/no/such/folder/out.gguf", "--type", "Q8_0"}), {"/no/such/folder/out.gguf"});
  check_failure(vkmoe({"quantize", golden, "/dev/full", "--type", "Q8_0"}), {"/dev/full"});
  CHECK(count_files(scratch) == 0);
}

TEST_CASE("a disk without room is one clear error") {
  Scratch scratch;
  // A limit on the size of files stands for the disk: the same call fails, with "File too large".
  check_failure(run_script("trap '' XFSZ; ulimit -f 1000; exec \"$1\" quantize \"$2\" \"$3\" --type Q4_0", scratch),
                {"out.gguf", "12386", "too large"});
  CHECK(count_files(scratch) == 0);
}

TEST_CASE("a run that is stopped leaves nothing under the final name") {
  Scratch scratch;
  // The shell's own words about its jobs go nowhere.
  const std::string start = "exec 3>&2 2>/dev/null; \"$1\" quantize \"$2\" \"$3\" --type Q2_K 2>&3 & sleep 0.4; kill -";
  for (const char* signal : {"INT", "TERM"}) {
    Result interrupted = run_script("set -m; " + start + signal + " $!; wait $!", scratch);
    CHECK(interrupted.exit_code == 130);
    CHECK(interrupted.err == "");
    CHECK(count_files(scratch) == 0);
  }
  CHECK(run_script(start + "KILL $!; wait $!", scratch).exit_code == 128 + 9);
  CHECK(!fs::exists(scratch / "out.gguf"));
}
