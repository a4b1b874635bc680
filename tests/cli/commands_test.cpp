// What the commands print and write, on the default model and the goldens.
#include <nlohmann/json.hpp>

#include "gguf_writer.h"
#include "process.h"

using nlohmann::json;

namespace {

const std::string data = source_dir + "/tests/data/";
const std::string default_gguf = source_dir + "/models/vkmoe-default.gguf";

const json& reference() {
  static const json object = json::parse(read_file(data + "reference.json"));
  return object;
}

json json_of(const Result& result) {
  check_success(result);
  return json::parse(result.out);
}

std::vector<float> npy_values(const std::string& path, const std::string& shape) {
  const std::string bytes = read_file(path);
  REQUIRE(bytes.substr(0, 8) == std::string("\x93NUMPY\x01\x00", 8));
  const size_t header_bytes = uint8_t(bytes[8]) + 256u * uint8_t(bytes[9]);
  CHECK((10 + header_bytes) % 64 == 0);
  const std::string header = bytes.substr(10, header_bytes);
  CHECK(header.find("{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }") == 0);
  CHECK(header.back() == '\n');
  std::vector<float> values((bytes.size() - 10 - header_bytes) / 4);
  std::memcpy(values.data(), bytes.data() + 10 + header_bytes, values.size() * 4);
  return values;
}

// An array of a safetensors file.
template <class T>
std::vector<T> safetensors_values(const std::string& path, const std::string& name) {
  const std::string bytes = read_file(path);
  uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data(), 8);
  const json offsets = json::parse(bytes.substr(8, header_bytes)).at(name).at("data_offsets");
  std::vector<T> values((offsets[1].get<size_t>() - offsets[0].get<size_t>()) / sizeof(T));
  std::memcpy(values.data(), bytes.data() + 8 + header_bytes + offsets[0].get<size_t>(), values.size() * sizeof(T));
  return values;
}

double normalised_error(const std::vector<float>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  double mean = 0, error = 0, spread = 0;
  for (float value : expected) mean += value / double(expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    error += (double(found[i]) - expected[i]) * (double(found[i]) - expected[i]);
    spread += (expected[i] - mean) * (expected[i] - mean);
  }
  return error / spread;
}

}  // namespace

TEST_CASE("run answers as transformers does") {
  const std::string question = reference()["greedy"][0]["question"], answer = reference()["greedy"][0]["answer"];
  Result result = vkmoe({"run", question});  // the default model is found beside the program
  check_success(result);
  CHECK(result.out == answer + "\n");
  result = vkmoe({"run", "-m", default_gguf, "-"}, {}, question);
  CHECK(result.out == answer + "\n");
  const json object = json_of(vkmoe({"run", "-m", default_gguf, "-p", question, "--json"}));
  CHECK(object["text"] == answer);
  CHECK(object["stopped_by"] == "end");
  CHECK(object["prompt_tokens"] == reference()["greedy"][0]["prompt_ids"].size());
}

TEST_CASE("run with options") {
  const std::vector<std::string> chance = {"run",    "-m", default_gguf, "--temp", "1.2",
                                           "--seed", "5",  "-n",         "12",     "Define gold."};
  const Result first = vkmoe(chance), second = vkmoe(chance);
  check_success(first);
  CHECK(first.out == second.out);
  CHECK(json_of(vkmoe({"run", "-m", default_gguf, "-n", "2", "--json", "What is gold?"}))["ids"].size() == 2);

  const Result raw = vkmoe({"run", "-m", default_gguf, "--raw", "-n", "8", "In the beginning God created the"});
  check_success(raw);
  CHECK(raw.out.size() > 1);
  const json full =
      json::parse(vkmoe({"run", "-m", default_gguf, "-c", "14", "--raw", "--json", "And it came to pass"}).out);
  CHECK(full["stopped_by"] == "context");
  CHECK(full["ids"].size() + full["prompt_tokens"].get<size_t>() >= 14);

  const Result stats = vkmoe({"run", "-m", default_gguf, "-n", "2", "--stats", "What is gold?"});
  CHECK(stats.exit_code == 0);
  CHECK(stats.err.find("tokens/s") != std::string::npos);
  const Result system =
      vkmoe({"run", "-m", default_gguf, "--system", "Be brief.", "-n", "2", "--json", "What is gold?"});
  CHECK(json_of(system)["prompt_tokens"] > 15);
  check_failure(vkmoe({"run", "-m", default_gguf, "--raw", "--system", "x", "Hi"}), {"--system"}, 2);
}

TEST_CASE("a reader that closes standard output ends the program quietly") {
  const Result result =
      run_command({"sh", "-c", "{ \"$0\" run --raw -n 100 Hi; echo $? >&2; } | head -c 1", program_path});
  CHECK(result.err == "0\n");
  CHECK(result.out.size() == 1);
}

TEST_CASE("an interrupt stops the answer cleanly") {
  Scratch scratch;
  const std::string script =
      "\"$0\" run --raw -n 480 'And it came to pass' >\"$1\" & while [ ! -s \"$1\" ]; do sleep 0.02; done; "
      "kill -INT $!; wait $! || exit $?";
  const Result result = run_command({"sh", "-c", script, program_path, scratch / "out"});
  CHECK(result.exit_code == 130);
  CHECK(result.err == "");
  CHECK(read_file(scratch / "out").back() == '\n');
}

TEST_CASE("logits of the goldens") {
  for (const std::string family : {"mixtral", "qwen3_moe"}) {
    for (const bool on_reference : {false, true}) {
      CAPTURE(family);
      CAPTURE(on_reference);
      Scratch scratch;
      const std::string folder = data + "goldens/" + family;
      std::string ids;
      for (int64_t id : safetensors_values<int64_t>(folder + "/golden.safetensors", "input_ids"))
        ids += std::to_string(id) + "\n";
      write_file(scratch / "ids", ids);
      std::vector<std::string> command = {"logits",           "-m", folder, "--ids", scratch / "ids", "-o",
                                          scratch / "out.npy"};
      if (on_reference) command.push_back("--reference");
      const Result result = vkmoe(command);
      check_success(result);
      CHECK(result.out == "");
      const auto expected = safetensors_values<float>(folder + "/golden.safetensors", "logits");
      CHECK(normalised_error(npy_values(scratch / "out.npy", "(48, 512)"), expected) < 1e-9);
    }
  }
}

TEST_CASE("logits do not depend on the chunk") {
  Scratch scratch;
  std::string ids;
  for (int i = 0; i < 600; ++i) ids += std::to_string(i * 37 % 4096) + " ";  // more than the model's own 512
  write_file(scratch / "ids", ids);
  std::vector<std::string> files;
  for (const char* chunk : {"0", "1", "37", "512"}) {
    std::vector<std::string> command = {"logits",        "-m", default_gguf,   "--ids",
                                        scratch / "ids", "-o", scratch / chunk};
    command.insert(command.end(), {"-c", "600"});
    if (*chunk != '0') command.insert(command.end(), {"--chunk", chunk});
    check_success(vkmoe(command));
    files.push_back(read_file(scratch / chunk));
    CHECK(files.back() == files.front());
  }
}

TEST_CASE("tokenize prints the ids of exactly those bytes") {
  const json object = reference()["greedy"][0];
  const std::string text = "<|im_start|>user\nWhat is a lighthouse?<|im_end|>\n<|im_start|>assistant\n";
  CHECK(json_of(vkmoe({"tokenize", "-m", default_gguf, "-f", "-", "--special", "--json"}, {}, text)) ==
        object["prompt_ids"]);
  const Result plain = vkmoe({"tokenize", "-m", default_gguf, "-f", "-"}, {}, text);
  check_success(plain);
  CHECK(std::count(plain.out.begin(), plain.out.end(), ' ') + 1 > int(object["prompt_ids"].size()));
  CHECK(vkmoe({"tokenize", "-m", default_gguf, "-f", "-"}, {}, "").out == "\n");
  for (const auto& [name, figures] : reference()["perplexity"].items()) {
    const Result result = vkmoe({"tokenize", "-m", default_gguf, "-f", data + name});
    CHECK(std::count(result.out.begin(), result.out.end(), ' ') + 1 == figures["ids"].get<int>());
  }
}

TEST_CASE("tokenize --decode gives the bytes back") {
  std::string all = "<|im_end|>";
  for (int b = 0; b < 256; ++b) all += char(b);
  for (const std::string& model : {default_gguf, data + "vocabs/ggml-vocab-gpt-2.gguf"}) {
    for (const std::string& text : {all, std::string(" \u4e2d\u6587\n\n  caf\u00e9\t"), read_file(data + "eval-python.txt")}) {
      const std::string ids = vkmoe({"tokenize", "-m", model, "-f", "-"}, {}, text).out;
      CHECK((vkmoe({"tokenize", "-m", model, "-f", "-", "--decode"}, {}, ids).out == text));
    }
  }
  const auto decode = [](const std::string& ids, std::vector<std::string> more = {}) {
    std::vector<std::string> command = {"tokenize", "-m", default_gguf, "-f", "-", "--decode"};
    command.insert(command.end(), more.begin(), more.end());
    return vkmoe(command, {}, ids);
  };
  CHECK(decode("375 2").out + decode("2", {"--special"}).out == "What<|im_end|>");
  check_failure(decode("4096"), {"4096", "vocabulary"});
  check_failure(decode("1 x"), {"id 1", "\"x\""});
  check_failure(decode("1", {"--eos"}), {"--decode"}, 2);
}

TEST_CASE("an encoder's input begins and ends as its GGUF says") {
  const Scratch scratch;
  const auto ids = [&](GgufWriter& writer, std::vector<std::string> more) {
    write_file(scratch / "vocab.gguf", writer.bytes());
    std::vector<std::string> command = {"tokenize", "-m", scratch / "vocab.gguf", "-f", "-"};
    command.insert(command.end(), more.begin(), more.end());
    return vkmoe(command, {}, "the cat").out;
  };
  GgufWriter t5, bert;
  t5.string("tokenizer.ggml.model", "t5").strings("tokenizer.ggml.tokens", {"<pad>", "</s>", "<unk>", "\u2581the", "\u2581cat"});
  t5.i32s("tokenizer.ggml.token_type", {3, 3, 2, 1, 1}).f32s("tokenizer.ggml.scores", {0, 0, 0, -1, -1});
  t5.boolean("tokenizer.ggml.add_space_prefix", true);
  CHECK(ids(t5, {}) == "3 4\n");
  CHECK(ids(t5, {"--bos", "--eos"}) == "3 4 1\n");
  bert.string("tokenizer.ggml.model", "bert").strings("tokenizer.ggml.tokens", {"\u2581the", "\u2581cat", "[CLS]", "[SEP]"});
  bert.i32s("tokenizer.ggml.token_type", {1, 1, 3, 3}).u32("tokenizer.ggml.bos_token_id", 2);
  CHECK(ids(bert, {"--bos", "--eos"}) == "2 0 1\n");  // no separator below 102
  bert.u32("tokenizer.ggml.seperator_token_id", 3);
  CHECK(ids(bert, {}) == "0 1\n");
  CHECK(ids(bert, {"--bos", "--eos"}) == "2 0 1 3\n");
}

TEST_SUITE("perplexity") {
  TEST_CASE("perplexity is that of transformers") {
    for (const auto& [name, figures] : reference()["perplexity"].items()) {
      const json result = json_of(vkmoe({"perplexity", "-m", default_gguf, "-f", data + name, "--json"}));
      CHECK(result["ids"] == figures["ids"]);
      CHECK(result["predicted"] == figures["predicted"]);
      CHECK(result["perplexity"].get<double>() ==
            doctest::Approx(figures["perplexity"].get<double>()).epsilon(0.005));
    }
  }
}

TEST_CASE("perplexity --routing says how tokens were spread over the experts, on the device as by the reference") {
  const std::string text = "A lighthouse is a tower with a light that warns ships at sea of rocks.";
  auto routing = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"perplexity", "-m", default_gguf, "-f", "-", "--routing", "--json"});
    const json result = json_of(vkmoe(more, {}, text));
    CHECK(result["routing"].size() == 6);
    for (const json& layer : result["routing"]) CHECK(layer["tokens"] == result["ids"]);
    return result["routing"];
  };
  const json device = routing({}), reference = routing({"--reference"});
  for (size_t i = 0; i < device.size(); ++i) {
    CHECK(device[i]["layer"] == i);
    CHECK(device[i]["load"].size() == 16);
    double load = 0;
    for (double share : device[i]["load"]) load += share;
    CHECK(load == doctest::Approx(1));
    CHECK(device[i]["fraction_dropped"] == 0);
    CHECK(device[i]["load"] == reference[i]["load"]);
    for (const char* name : {"load_balance_loss", "z_loss", "router_entropy", "load_entropy", "importance_cv2"})
      CHECK(device[i][name].get<double>() == doctest::Approx(reference[i][name].get<double>()).epsilon(1e-3));
  }
  const Result table = vkmoe({"perplexity", "-m", default_gguf, "-f", "-", "--routing"}, {}, text);
  check_success(table);
  CHECK(std::count(table.out.begin(), table.out.end(), '\n') == 2 + 6);
}

TEST_CASE("inspect") {
  const json model = json_of(vkmoe({"inspect", "-m", default_gguf, "--json"}));
  CHECK(model["architecture"] == "qwen3_moe");
  CHECK(model["tensors"]["count"] == 74);
  CHECK(model["parameters"]["total"].get<double>() == doctest::Approx(21.1e6).epsilon(0.01));
  CHECK(model["parameters"]["active"].get<double>() == doctest::Approx(4.6e6).epsilon(0.3));
  CHECK(model["bytes_per_decoded_token"].get<double>() > 3e6);
  CHECK(model["memory"]["total_bytes"].get<double>() >= 22e6);
  const Result table = vkmoe({"inspect", default_gguf});
  check_success(table);
  for (const char* word : {"qwen3_moe", "Q8_0", "active", "kv_cache_bytes"})
    CHECK(table.out.find(word) != std::string::npos);
  CHECK(json_of(vkmoe({"inspect", data + "goldens/mixtral", "--json"}))["tensors"]["count"] == 96);
}

TEST_CASE("devices") {
  const json list = json_of(vkmoe({"devices", "--json"}));
  REQUIRE(list.size() >= 1);
  const std::string name = list[0]["name"];
  const Result table = vkmoe({"devices"});
  check_success(table);
  CHECK(table.out.find(name) != std::string::npos);
  check_success(vkmoe({"run", "-n", "1", "--device", name.substr(0, 6), "Hi"}));
  check_success(vkmoe({"run", "-n", "1", "--device", "0", "Hi"}));
}

TEST_CASE("help and version") {
  for (const char* command : {"run", "chat", "logits", "perplexity", "tokenize", "inspect", "devices", "bench"}) {
    const Result help = vkmoe({command, "--help"});
    check_success(help);
    CHECK(help.out.find(std::string("vkmoe ") + command) != std::string::npos);
  }
  check_success(vkmoe({"--version"}));
}
