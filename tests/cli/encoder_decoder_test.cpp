// logits --decoder-ids, run and inspect on encoder-decoder models.
#include <cstring>
#include <nlohmann/json.hpp>

#include "process.h"

namespace {

const std::string goldens = source_dir + "/tests/data/goldens/";

// An array of a safetensors file.
template <class T>
std::vector<T> array_of(const std::string& path, const std::string& name) {
  const std::string bytes = read_file(path);
  uint64_t header_bytes;
  std::memcpy(&header_bytes, bytes.data(), 8);
  const auto offsets = nlohmann::json::parse(bytes.substr(8, header_bytes)).at(name).at("data_offsets");
  std::vector<T> values((offsets[1].get<size_t>() - offsets[0].get<size_t>()) / sizeof(T));
  std::memcpy(values.data(), bytes.data() + 8 + header_bytes + offsets[0].get<size_t>(), values.size() * sizeof(T));
  return values;
}

void write_ids(const std::string& path, const std::string& golden, const std::string& name) {
  std::string text;
  for (int64_t id : array_of<int64_t>(golden, name)) text += std::to_string(id) + " ";
  write_file(path, text);
}

}  // namespace

TEST_CASE("logits --decoder-ids gives transformers' logits of the decoder's ids") {
  for (const std::string family : {"switch_transformers", "nllb_moe"}) {
    for (const bool on_reference : {false, true}) {
      CAPTURE(family);
      CAPTURE(on_reference);
      Scratch scratch;
      const std::string golden = goldens + family + "/golden.safetensors";
      write_ids(scratch / "ids", golden, "input_ids");
      write_ids(scratch / "decoder", golden, "decoder_input_ids");
      std::vector<std::string> command = {"logits", "-m", goldens + family, "--ids", scratch / "ids", "--decoder-ids",
                                          scratch / "decoder", "-o", scratch / "out.npy"};
      if (on_reference) command.push_back("--reference");
      check_success(vkmoe(command));
      const std::string npy = read_file(scratch / "out.npy");
      const std::vector<float> expected = array_of<float>(golden, "logits");
      REQUIRE(npy.size() > expected.size() * 4);
      std::vector<float> found(expected.size());
      std::memcpy(found.data(), npy.data() + npy.size() - found.size() * 4, found.size() * 4);
      double error = 0, power = 0;
      for (size_t i = 0; i < found.size(); ++i) {
        error += (double(found[i]) - expected[i]) * (double(found[i]) - expected[i]);
        power += double(expected[i]) * expected[i];
      }
      CHECK(error < 1e-9 * power);
    }
  }
}

TEST_CASE("--decoder-ids and languages belong to encoder-decoder models") {
  Scratch scratch;
  write_file(scratch / "ids", "5 6 7");
  const std::string out = scratch / "out.npy";
  Result result = vkmoe({"logits", "-m", goldens + "nllb_moe", "--ids", scratch / "ids", "-o", out, "--reference"});
  CHECK(result.exit_code == 2);
  CHECK(result.err.find("needs --decoder-ids") != std::string::npos);
  result = vkmoe({"logits", "-m", goldens + "mixtral", "--ids", scratch / "ids", "--decoder-ids", scratch / "ids", "-o", out,
                  "--reference"});
  CHECK(result.exit_code == 2);
  CHECK(result.err.find("needs an encoder-decoder model") != std::string::npos);
  result = vkmoe({"run", "-m", goldens + "mixtral", "--target-language", "fra_Latn", "--reference", "x"});
  CHECK(result.exit_code == 2);
  result = vkmoe({"run", "-m", goldens + "nllb_moe", "--target-language", "fra_Latn", "--reference", "x"});
  CHECK(result.exit_code == 1);
  CHECK(result.err.find("\"fra_Latn\" is no token") != std::string::npos);
}

TEST_CASE("run encodes the prompt and decodes from the forced first token, on the device as on the reference") {
  std::vector<nlohmann::json> answers;
  for (const bool on_reference : {false, true}) {
    std::vector<std::string> command = {"run", "-m", goldens + "nllb_moe", "--json", "-n", "6", "--source-language",
                                        "<|im_end|>", "--target-language", "<|im_start|>", "lighthouse"};
    if (on_reference) command.push_back("--reference");
    const Result result = vkmoe(command);
    check_success(result);
    answers.push_back(nlohmann::json::parse(result.out));
  }
  CHECK(answers[0]["ids"].size() > 0);
  CHECK(answers[0]["ids"] == answers[1]["ids"]);
}

TEST_CASE("inspect shows the encoder") {
  const Result result = vkmoe({"inspect", goldens + "nllb_moe", "--json"});
  check_success(result);
  const auto model = nlohmann::json::parse(result.out);
  CHECK(model.at("encoder").at("layers") == 2);
  CHECK(model.at("encoder").at("expert_capacity_of_tokens") == 0.5);
  CHECK(model.at("encoder").at("experts_by_rank") == true);
  // Every weight counts: 4-byte values of a file with a header.
  const uint64_t bytes = fs::file_size(goldens + "nllb_moe/model.safetensors"), total = model.at("parameters").at("total");
  CHECK(total * 4 < bytes);
  CHECK(total * 4 + 20000 > bytes);
  CHECK(vkmoe({"inspect", goldens + "switch_transformers"}).out.find("\nencoder\n") != std::string::npos);
}
