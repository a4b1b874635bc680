#include "loader/tokenizer.h"

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>

#include "loader/json_file.h"
#include "loader/utf8.h"
#include "test_files.h"
#include "tokenizer_folders.h"

using namespace vkmoe;
using nlohmann::json;

namespace {

std::string decode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool special = true) {
  std::string text;
  for (int32_t id : ids) text += tokenizer.token_bytes(id, special);
  return text;
}

json golden_json() {
  std::string text = read_file(data_path("goldens/mixtral/tokenizer.json"));
  return json::parse(text);
}

// The same vocabulary as a GGUF's metadata.
ModelFile gguf_with(const json& tokenizer, const std::string& pre) {
  json tokens = json::array(), types = json::array(), merges = json::array();
  auto set = [&](size_t id, const json& text, int type) {
    while (tokens.size() <= id) tokens.push_back(""), types.push_back(1);
    tokens[id] = text;
    types[id] = type;
  };
  for (const auto& [text, id] : tokenizer["model"]["vocab"].items()) set(id, text, 1);
  for (const json& token : tokenizer["added_tokens"]) set(token["id"], token["content"], token["special"] ? 3 : 4);
  for (const json& merge : tokenizer["model"]["merges"])
    merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  ModelFile model;
  model.path = "model.gguf";
  model.metadata = {{"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", pre}, {"tokenizer.ggml.tokens", tokens},
                    {"tokenizer.ggml.token_type", types}, {"tokenizer.ggml.merges", merges}};
  return model;
}

// Every case of llama.cpp's .inp and .out beside a vocabulary.
void check_vocabulary(const std::string& path) {
  CAPTURE(path);
  auto model = ModelFile::open(path);
  auto tokenizer = Tokenizer::load(*model);
  std::string texts = read_file(path + ".inp"), separator = "\n__ggml_vocab_test__\n";
  std::istringstream lines(read_file(path + ".out"));
  size_t at = 0;
  int cases = 0;
  for (std::string line; std::getline(lines, line); cases++) {
    REQUIRE(at != std::string::npos);
    size_t end = texts.find(separator, at);
    std::string text = texts.substr(at, end == std::string::npos ? end : end - at);
    at = end == std::string::npos ? end : end + separator.size();
    CAPTURE(text);
    std::istringstream numbers(line);
    std::vector<int32_t> expected;
    for (int32_t id; numbers >> id;) expected.push_back(id);
    CHECK(tokenizer->encode(text, false) == expected);
    CHECK(tokenizer->decode(expected, true) == text);
  }
  CHECK((at == std::string::npos || at == texts.size()));
  CHECK(cases >= 40);
}

}  // namespace

TEST_CASE("GPT-2's vocabulary gives llama.cpp's ids") { check_vocabulary(data_path("vocabs/ggml-vocab-gpt-2.gguf")); }

TEST_CASE("larger vocabularies give llama.cpp's ids") {
  const char* shared = std::getenv("VKMOE_SHARED");
  if (!shared) {
    MESSAGE("skipped: VKMOE_SHARED does not name a folder with vocabs/");
    return;
  }
  for (std::string name : {"gpt-2", "qwen2", "deepseek-llm", "llama-spm", "phi-3"})
    check_vocabulary(std::string(shared) + "/vocabs/ggml-vocab-" + name + ".gguf");
}

TEST_CASE("tokenizer.json gives the ids of Hugging Face's tokenizers, in a folder and in a GGUF") {
  json cases = json::parse(read_file(data_path("vocabs/cases.json")));
  CHECK(cases["texts"].size() > 70);
  CHECK(cases["variants"].size() >= 11);
  int as_gguf = 0;
  for (const json& variant : cases["variants"]) {
    std::string name = variant["name"];
    CAPTURE(name);
    json source = golden_json();
    source.merge_patch(variant["patch"]);
    ModelFile model = model_with(source);
    std::vector<std::unique_ptr<Tokenizer>> tokenizers;
    tokenizers.push_back(Tokenizer::load(model));
    if (!variant["pre"].is_null()) {
      ModelFile gguf = gguf_with(source, variant["pre"]);
      tokenizers.push_back(Tokenizer::load(gguf));
      as_gguf++;
    }
    for (const auto& tokenizer : tokenizers)
      for (size_t i = 0; i < cases["texts"].size(); i++) {
        std::string text = cases["texts"][i];
        CAPTURE(text);
        std::vector<int32_t> expected = variant["ids"][i];
        CHECK(tokenizer->encode(text, variant["special"]) == expected);
      }
  }
  CHECK(as_gguf >= 5);
}

// The same tokenizer as a GGUF, of the kinds that those know; otherwise as it is.
static ModelFile as_gguf(const json& kind, const ModelFile& model) {
  std::string name = kind["name"];
  ModelFile gguf;
  gguf.path = "model.gguf";
  if (kind.contains("gguf")) {
    gguf.metadata = kind["gguf"];
  } else if (name.rfind("bert", 0) == 0) {
    json tokens = json::array(), types = json::array();
    for (const auto& [text, id] : kind["tokenizer"]["model"]["vocab"].items()) {
      while (tokens.size() <= id) tokens.push_back(""), types.push_back(1);
      bool special = text[0] == '[' && text.size() > 1;
      tokens[id.get<size_t>()] = special ? text : text.rfind("##", 0) == 0 && text.size() > 2 ? text.substr(2) : "\u2581" + text;
      types[id.get<size_t>()] = special ? 3 : 1;
    }
    gguf.metadata = {{"tokenizer.ggml.model", "bert"}, {"tokenizer.ggml.tokens", tokens},
                     {"tokenizer.ggml.token_type", types}, {"tokenizer.ggml.unknown_token_id", 1},
                     {"tokenizer.ggml.normalizer.lowercase", name == "bert"}};
  } else {
    return model;
  }
  return gguf;
}

TEST_CASE("SentencePiece, unigram, WordPiece and tiktoken give the ids of their libraries") {
  json cases = json::parse(read_file(data_path("vocabs/kinds.json")));
  CHECK(cases["kinds"].size() >= 12);
  for (const json& kind : cases["kinds"]) {
    std::string name = kind["name"];
    CAPTURE(name);
    ModelFile model = model_with(kind.contains("tokenizer") ? kind["tokenizer"] : json());
    if (kind.contains("model")) model.sentencepiece = from_base64(kind["model"]);
    if (kind.contains("tiktoken")) model = tiktoken_model(kind["tiktoken"]);
    auto tokenizer = Tokenizer::load(model), gguf = Tokenizer::load(as_gguf(kind, model));
    for (size_t i = 0; i < cases["texts"].size(); i++) {
      std::string text = cases["texts"][i];
      CAPTURE(text);
      std::vector<int32_t> expected = kind["ids"][i];
      CHECK(tokenizer->encode(text, false) == expected);
      CHECK(gguf->encode(text, false) == expected);
    }
    // Cut into words or not, from the cache or not: many times the same text is many times the same ids.
    std::string word = " lighthouse", many;
    for (int i = 0; i < 50; i++) many += word;
    CHECK(tokenizer->encode(many, false).size() >= 50);
    if (name != "llama" && name != "spm bpe" && name != "tiktoken") continue;
    std::mt19937 random(3);
    for (int i = 0; i < 200; i++) {
      std::string text = i % 2 ? "w" : "";  // any bytes come back, where each has a token
      for (size_t k = random() % 40; k > 0; k--) text += random() % 3 ? char(random()) : " eo"[random() % 3];
      CHECK(tokenizer->decode(tokenizer->encode(text, false), true) == text);
    }
  }
}

TEST_CASE("any bytes come back") {
  json plain = golden_json();
  ModelFile models[] = {model_with(plain), gguf_with(plain, "gpt-2"), gguf_with(plain, "llama-bpe"),
                        gguf_with(plain, "deepseek-llm"), gguf_with(plain, "default")};
  std::mt19937 random(7);
  for (const ModelFile& model : models) {
    auto tokenizer = Tokenizer::load(model);
    CHECK(tokenizer->encode("", false).empty());
    for (int i = 0; i < 400; i++) {
      std::string text;
      size_t length = random() % 60;
      for (size_t k = 0; k < length; k++) {
        switch (random() % 6) {
          case 0: text += char(random()); break;
          case 1: text += char(' ' + random() % 95); break;
          case 2: text += " \n\t\r"[random() % 4]; break;
          case 3: append_utf8(text, 0x80 + random() % 0x3000); break;
          case 4: append_utf8(text, 0x10000 + random() % 0x100000); break;
          default: text += i % 2 ? "<|im_end|>" : "word"; break;
        }
      }
      CHECK(decode(*tokenizer, tokenizer->encode(text, false), false) == text);
      CHECK(decode(*tokenizer, tokenizer->encode(text, true)) == text);
    }
    std::string all_bytes;
    for (int b = 0; b < 256; b++) all_bytes += char(b);
    CHECK(decode(*tokenizer, tokenizer->encode(all_bytes, false)) == all_bytes);
  }
}

TEST_CASE("special tokens are plain text unless they are asked for") {
  auto model = ModelFile::open(data_path("goldens/mixtral"));
  auto tokenizer = Tokenizer::load(*model);
  std::string text = "a<|im_end|>";
  auto plain = tokenizer->encode(text, false), special = tokenizer->encode(text, true);
  CHECK(plain.size() > 4);
  CHECK(special.size() == 2);
  CHECK(special.back() == 2);
  CHECK(tokenizer->token_bytes(2, false) == "");
  CHECK(tokenizer->token_bytes(2, true) == "<|im_end|>");
  CHECK(decode(*tokenizer, plain, false) == text);
  CHECK(tokenizer->token_bytes(-1, true) == "");
  CHECK(tokenizer->token_bytes(INT32_MAX, true) == "");
  CHECK(tokenizer->token_bytes(int32_t(tokenizer->vocab_size()), true) == "");
}

TEST_CASE("the default model's tokenizer gives transformers' ids") {
  auto model = ModelFile::open(VKMOE_SOURCE_DIR "/models/vkmoe-default.gguf");
  auto tokenizer = Tokenizer::load(*model);
  json reference = json::parse(read_file(data_path("reference.json")));
  for (const auto& [name, expected] : reference["perplexity"].items()) {
    CAPTURE(name);
    std::string text = read_file(data_path(name));
    auto ids = tokenizer->encode(text, false);
    CHECK(ids.size() == expected["ids"]);
    CHECK(decode(*tokenizer, ids) == text);
  }
  for (const json& answer : reference["greedy"]) {
    std::string question = answer["question"], expected = answer["answer"];
    std::string prompt = "<|im_start|>user\n" + question + "<|im_end|>\n<|im_start|>assistant\n";
    CHECK(tokenizer->encode(prompt, true) == answer["prompt_ids"].get<std::vector<int32_t>>());
    CHECK(decode(*tokenizer, answer["answer_ids"], false) == expected);
  }
  CHECK(reference["greedy"].size() == 5);
  CHECK(!tokenizer->end_ids.empty());
  CHECK(!tokenizer->chat_template.empty());
  CHECK(!tokenizer->add_bos);
}

TEST_CASE("a model's folder and its GGUFs have the same tokenizer") {
  std::string text = "In the beginning \u00e9t\u00e9 was 42.\n\n  \tThe end's <|im_end|>";
  int ggufs = 0;
  for (const auto& family : std::filesystem::directory_iterator(data_path("goldens"))) {
    auto folder = ModelFile::open(family.path().string());
    auto expected = Tokenizer::load(*folder)->encode(text, true);
    for (const auto& entry : std::filesystem::directory_iterator(family.path())) {
      if (entry.path().extension() != ".gguf") continue;
      std::string path = entry.path().string();
      CAPTURE(path);
      auto model = ModelFile::open(path);
      CHECK(model->tensors.size() > 10);
      CHECK(Tokenizer::load(*model)->encode(text, true) == expected);
      ggufs++;
    }
  }
  CHECK(ggufs > 3);
}

TEST_CASE("bos, eos and chat template of a folder") {
  ModelFile model = model_with(golden_json());
  auto tokenizer = Tokenizer::load(model);
  CHECK(tokenizer->bos == -1);
  CHECK(tokenizer->end_ids.empty());
  CHECK(tokenizer->chat_template.empty());

  model.tokenizer_config = {{"bos_token", {{"content", "<|im_start|>"}, {"lstrip", false}}},
                            {"eos_token", "<|im_end|>"},
                            {"add_bos_token", true},
                            {"chat_template", json::array({{{"name", "tool"}, {"template", "T"}},
                                                           {{"name", "default"}, {"template", "D"}}})}};
  model.generation_config = {{"eos_token_id", {2, 0}}};
  model.metadata = {{"eos_token_id", 5}};
  tokenizer = Tokenizer::load(model);
  CHECK(tokenizer->bos == 1);
  CHECK(tokenizer->add_bos);
  CHECK(tokenizer->bos_text == "<|im_start|>");
  CHECK(tokenizer->eos_text == "<|im_end|>");
  CHECK(tokenizer->end_ids == std::vector<int32_t>{2, 0, 5});
  CHECK(tokenizer->chat_template == "D");

  // The post-processor decides where the configuration is silent.
  model.tokenizer_config = json::object();
  model.tokenizer["post_processor"] = {
      {"type", "Sequence"},
      {"processors",
       {{{"type", "ByteLevel"}},
        {{"type", "TemplateProcessing"},
         {"single",
          {{{"SpecialToken", {{"id", "<|endoftext|>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}}}}}}}}}};
  tokenizer = Tokenizer::load(model);
  CHECK(tokenizer->bos == 0);
  CHECK(tokenizer->add_bos);
  model.tokenizer_config["add_bos_token"] = false;
  CHECK(!Tokenizer::load(model)->add_bos);

  model.generation_config = {{"eos_token_id", {2, -1}}};
  check_fails(VKMOE_ERROR_BAD_FILE, {"generation_config.json", "eos_token_id", "-1"},
              [&] { Tokenizer::load(model); });
  model.generation_config = {{"eos_token_id", "x"}};
  check_fails(VKMOE_ERROR_BAD_FILE, {"generation_config.json", "eos_token_id", "x"}, [&] { Tokenizer::load(model); });
}

TEST_CASE("bos, eos and chat template of a GGUF") {
  ModelFile model = gguf_with(golden_json(), "llama-bpe");
  auto tokenizer = Tokenizer::load(model);
  CHECK(tokenizer->bos == -1);
  CHECK(!tokenizer->add_bos);
  CHECK(tokenizer->end_ids == std::vector<int32_t>{0, 2});  // by their texts
  model.metadata["tokenizer.ggml.bos_token_id"] = 1;
  model.metadata["tokenizer.ggml.eos_token_id"] = 7;
  model.metadata["tokenizer.ggml.eot_token_id"] = 2;
  model.metadata["tokenizer.chat_template"] = "C";
  tokenizer = Tokenizer::load(model);
  CHECK(tokenizer->bos == 1);
  CHECK(tokenizer->add_bos);  // llama-bpe's default
  CHECK(tokenizer->bos_text == "<|im_start|>");
  CHECK(tokenizer->end_ids == std::vector<int32_t>{7, 2, 0});
  CHECK(tokenizer->token_bytes(7, false) == "");  // an end token is a control token, whatever its type says
  CHECK(tokenizer->chat_template == "C");
  model.metadata["tokenizer.ggml.add_bos_token"] = false;
  CHECK(!Tokenizer::load(model)->add_bos);
}

TEST_CASE("long words and long runs take time in proportion") {
  ModelFile models[] = {model_with(golden_json()), gguf_with(golden_json(), "deepseek-llm"),
                        gguf_with(golden_json(), "gpt-2")};
  std::mt19937 random(3);
  std::string letters, words, spaces(1 << 20, ' '), mixed, invalid(1 << 20, '\xff');
  while (letters.size() < 1 << 20) letters += char('a' + random() % 26);
  while (words.size() < 1 << 20) words += random() % 5 ? char('a' + random() % 26) : ' ';
  while (mixed.size() < 1 << 20) mixed += random() % 2 ? " " : "\xc2\xa0";
  for (const ModelFile& model : models) {
    auto tokenizer = Tokenizer::load(model);
    for (const std::string& text :
         {letters, std::string(1 << 20, 'a'), words, spaces, spaces + "x", mixed + "x", invalid}) {
      auto start = std::chrono::steady_clock::now();
      auto ids = tokenizer->encode(text, true);
      double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      CHECK(seconds < 20);  // quadratic work would take hours
      CHECK(decode(*tokenizer, ids) == text);
    }
  }
}

TEST_CASE("parts of tokenizer.json that are not known are named") {
  auto unsupported = [](std::initializer_list<const char*> parts, const char* patch) {
    json source = golden_json();
    source.merge_patch(json::parse(patch));
    check_fails(VKMOE_ERROR_UNSUPPORTED, parts, [&] { Tokenizer::load(model_with(source)); });
    check_fails(VKMOE_ERROR_UNSUPPORTED, {"folder/tokenizer.json"}, [&] { Tokenizer::load(model_with(source)); });
  };
  unsupported({"model WordLevel"}, R"({"model":{"type":"WordLevel"}})");
  unsupported({"end_of_word_suffix"}, R"({"model":{"end_of_word_suffix":"</w>"}})");
  unsupported({"normalizer ByteLevel"}, R"({"normalizer":{"type":"ByteLevel"}})");
  unsupported({"normalizer X"}, R"({"normalizer":{"type":"Sequence","normalizers":[{"type":"X"}]}})");
  unsupported({"decoder CTC"}, R"({"decoder":{"type":"CTC"}})");
  unsupported({"decoder Replace", "\"a\""}, R"({"decoder":{"type":"Replace","pattern":{"String":"a"},"content":" "}})");
  unsupported({"pre_tokenizer UnicodeScripts"}, R"({"pre_tokenizer":{"type":"UnicodeScripts"}})");
  unsupported({"prepend_scheme last"}, R"({"pre_tokenizer":{"type":"Metaspace","prepend_scheme":"last"}})");
  for (const char* last : {"ByteLevel", "Metaspace"})
    unsupported({last, "after ByteLevel"}, cat(R"({"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},)",
                                               R"({"type":")", last, R"("}]}})").c_str());
  auto regex = [&](std::initializer_list<const char*> parts, const char* pattern) {
    json patch = {{"pre_tokenizer", {{"pretokenizers", json::array({{{"type", "Split"}, {"behavior", "Isolated"},
                                                                     {"pattern", {{"Regex", pattern}}}}})}}}};
    unsupported(parts, patch.dump().c_str());
  };
  regex({"regular expression", "missing"}, "(a");
  regex({"intersection", "byte 2"}, "[a&&b]");
  regex({"intersection"}, "[^a&&[b]]");
  regex({"set within a set"}, "[a[b]]");
  regex({"\\h"}, "\\h");
  regex({"\\X"}, "\\X");
  regex({"verb"}, "(*ACCEPT)");
  regex({"group"}, "(?m:a.b)");
  unsupported({"behavior Merged"}, R"({"pre_tokenizer":{"type":"Punctuation","behavior":"Merged"}})");
}

TEST_CASE("a tokenizer.json that contradicts itself") {
  auto bad = [](std::initializer_list<const char*> parts, const char* patch) {
    json source = golden_json();
    source.merge_patch(json::parse(patch));
    check_fails(VKMOE_ERROR_BAD_FILE, parts, [&] { Tokenizer::load(model_with(source)); });
  };
  bad({"model"}, R"({"model":null})");
  bad({"model.vocab"}, R"({"model":{"vocab":[1]}})");
  bad({"merges"}, R"({"model":{"merges":3}})");
  bad({"merge 0"}, R"({"model":{"merges":["ab"]}})");
  bad({"merge 0"}, R"({"model":{"merges":["a b c"]}})");
  bad({"merge 0"}, R"({"model":{"merges":[["a"]]}})");
  bad({"merge 1", "not in the vocabulary"}, R"({"model":{"merges":["t h","q q"]}})");
  bad({"merge 0", "not in the vocabulary"}, R"({"model":{"merges":[["", "a"]]}})");
  bad({"'zzz'", "same id"}, R"({"model":{"vocab":{"zzz":40}}})");
  bad({"'zzz'", "expected an id below", "4000000000"}, R"({"model":{"vocab":{"zzz":4000000000}}})");
  bad({"'zzz'", "expected an id", "-1"}, R"({"model":{"vocab":{"zzz":-1}}})");
  bad({"added_tokens"}, R"({"added_tokens":{"a":1}})");
  bad({"added_tokens"}, R"({"added_tokens":[{"id":3}]})");
  bad({"same id"}, R"({"added_tokens":[{"id":40,"content":"another"}]})");
  bad({"'th'", "in the vocabulary"}, R"({"added_tokens":[{"id":900,"content":"th"}]})");
  bad({"normalizer"}, R"({"normalizer":"NFC"})");
  bad({"type", "string"}, R"({"pre_tokenizer":{"type":7}})");
  check_fails(VKMOE_ERROR_NOT_FOUND, {"folder/tokenizer.json", "missing"},
              [] { Tokenizer::load(model_with(nullptr)); });
  check_fails(VKMOE_ERROR_BAD_FILE, {"folder/tokenizer.json"}, [] { Tokenizer::load(model_with(json::array())); });
}

TEST_CASE("GGUF tokenizers that are not known, or contradict themselves") {
  auto fails = [](vkmoe_status status, std::initializer_list<const char*> parts, const char* key, json value) {
    ModelFile model = gguf_with(golden_json(), "qwen2");
    if (value.is_null()) {
      model.metadata.erase(key);
    } else {
      model.metadata[key] = value;
    }
    check_fails(status, parts, [&] { Tokenizer::load(model); });
    check_fails(status, {"model.gguf"}, [&] { Tokenizer::load(model); });
  };
  fails(VKMOE_ERROR_UNSUPPORTED, {"tokenizer.ggml.model", "'rwkv'"}, "tokenizer.ggml.model", "rwkv");
  fails(VKMOE_ERROR_UNSUPPORTED, {"tokenizer.ggml.model", "missing"}, "tokenizer.ggml.model", nullptr);
  fails(VKMOE_ERROR_BAD_FILE, {"tokenizer.ggml.model", "string"}, "tokenizer.ggml.model", 3);
  fails(VKMOE_ERROR_UNSUPPORTED, {"tokenizer.ggml.pre", "'never'"}, "tokenizer.ggml.pre", "never");
  fails(VKMOE_ERROR_BAD_FILE, {"tokenizer.ggml.tokens", "none"}, "tokenizer.ggml.tokens", nullptr);
  fails(VKMOE_ERROR_BAD_FILE, {"tokenizer.ggml.tokens", "empty"}, "tokenizer.ggml.tokens", json::array());
  fails(VKMOE_ERROR_BAD_FILE, {"tokenizer.ggml.tokens", "strings"}, "tokenizer.ggml.tokens", {1, 2});
  fails(VKMOE_ERROR_BAD_FILE, {"token_type", "array of 512"}, "tokenizer.ggml.token_type", {1, 1});
  fails(VKMOE_ERROR_BAD_FILE, {"token_type", "1 to 6", "9"}, "tokenizer.ggml.token_type", std::vector<int>(512, 9));
  fails(VKMOE_ERROR_BAD_FILE, {"tokenizer.ggml.scores", "array of 512"}, "tokenizer.ggml.scores", {1.0});
  fails(VKMOE_ERROR_BAD_FILE, {"tokenizer.ggml.scores", "not finite"}, "tokenizer.ggml.scores",
        std::vector<double>(512, 1e300));
  fails(VKMOE_ERROR_BAD_FILE, {"tokenizer.ggml.merges", "'ab'"}, "tokenizer.ggml.merges", {"ab"});
  fails(VKMOE_ERROR_BAD_FILE, {"tokenizer.ggml.merges", "''"}, "tokenizer.ggml.merges", {""});
  fails(VKMOE_ERROR_BAD_FILE, {"bos_token_id", "below 512", "512"}, "tokenizer.ggml.bos_token_id", 512);
  fails(VKMOE_ERROR_BAD_FILE, {"eos_token_id", "-3"}, "tokenizer.ggml.eos_token_id", -3);
}

TEST_CASE("a GGUF's merges outside of its vocabulary do nothing") {
  ModelFile plain = gguf_with(golden_json(), "qwen2"), more = plain;
  more.metadata["tokenizer.ggml.merges"].push_back("q zzzzz");
  more.metadata["tokenizer.ggml.merges"].insert(more.metadata["tokenizer.ggml.merges"].begin(), "zzzzz zzzzz");
  std::string text = "In the beginning was the word, and qzzzzz zzzzzzzzzz.";
  CHECK(Tokenizer::load(more)->encode(text, false) == Tokenizer::load(plain)->encode(text, false));
}

TEST_CASE("a tokenizer.json changed anywhere either works or fails with a message") {
  const std::string source = read_file(data_path("goldens/mixtral/tokenizer.json"));
  std::mt19937 random(11);
  int worked = 0, failed = 0;
  for (int i = 0; i < 1500; i++) {
    std::string mutated = source;
    for (uint32_t k = 0; k <= i % 3u; k++) {
      // Half of the changes hit the part before the vocabulary, where the structure is.
      size_t at = random() % (random() % 2 ? 2500 : source.size());
      switch (random() % 4) {
        case 0: mutated[at] = char(random()); break;
        case 1: mutated[at] = "0123456789[]{}\",:+*?()|"[random() % 24]; break;
        case 2: mutated.erase(at, 1 + random() % 8); break;
        default: mutated.insert(at, mutated.substr(random() % mutated.size(), random() % 30)); break;
      }
    }
    try {
      auto bytes = reinterpret_cast<const uint8_t*>(mutated.data());
      ModelFile model = model_with(parse_json(bytes, mutated.size(), "folder"));
      auto tokenizer = Tokenizer::load(model);
      std::string text = "The <|im_end|> of \xff 12 caf\xc3\xa9\n\n  x's";
      decode(*tokenizer, tokenizer->encode(text, true));
      worked++;
    } catch (const Error& error) {
      failed += std::string(error.what()).find("folder") != std::string::npos;
    }
  }
  CHECK(worked + failed == 1500);
  CHECK(worked > 50);
  CHECK(failed > 50);
}

TEST_CASE("Utf8Stream gives whole characters, and all bytes") {
  Utf8Stream stream;
  CHECK(stream.push("a\xc3") == "a");
  CHECK(stream.push("\xa9") == "\xc3\xa9");
  CHECK(stream.push("\xf0\x9f") == "");
  CHECK(stream.push("\x98") == "");
  CHECK(stream.push("\x80!") == "\xf0\x9f\x98\x80!");
  CHECK(stream.push("\xff") == "\xff");
  CHECK(stream.push("\xe2\x82") == "");
  CHECK(stream.push("x") == "\xe2\x82x");
  CHECK(stream.push("\xed\xa0") == "\xed\xa0");  // a surrogate is no character
  CHECK(stream.push("\xe2") == "");
  CHECK(stream.flush() == "\xe2");
  CHECK(stream.flush() == "");

  std::mt19937 random(5);
  std::string text, joined;
  for (int i = 0; i < 3000; i++) {
    if (random() % 4) {
      append_utf8(text, random() % 0xd800);
    } else {
      text += char(random());
    }
  }
  for (size_t at = 0; at < text.size();) {
    size_t count = 1 + random() % 5;
    std::string piece = stream.push(text.substr(at, count));
    joined += piece;
    at += count;
  }
  CHECK(joined + stream.flush() == text);
}
