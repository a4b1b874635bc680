// tokenizer.model and tiktoken.model: what is wrong with them, special tokens, and the same as a GGUF.
#include <random>

#include "loader/gguf_writer.h"
#include "loader/tokenizer.h"
#include "loader/tokenizer_export.h"
#include "test_files.h"
#include "tokenizer_folders.h"

using namespace vkmoe;
using nlohmann::json;

TEST_CASE("a tokenizer.model in a GGUF is the same tokenizer") {
  json cases = json::parse(read_file(data_path("vocabs/kinds.json")));
  TestFolder folder("tokenizer-export");
  int as_bpe = 0, as_unigram = 0, refused = 0;
  for (const json& kind : cases["kinds"]) {
    if (!kind.contains("model")) continue;
    std::string name = kind["name"];
    CAPTURE(name);
    ModelFile model = model_with(json());
    model.sentencepiece = from_base64(kind["model"]);
    model.metadata["pad_token_id"] = 0u;
    model.tokenizer_config = {{"added_tokens_decoder", {{"900", {{"content", "<|user|>"}, {"special", true}}}}},
                              {"chat_template", "{{ messages }}"}};
    auto before = Tokenizer::load(model);
    GgufHeader header;
    if (name == "spm bpe, symbols" || name == "spm unigram") {  // no keys for a BPE's normalizer, a unigram's symbols
      check_fails(VKMOE_ERROR_UNSUPPORTED, {"tokenizer.model", "normalizes"},
                  [&] { set_tokenizer(model, 1000, header); });
      refused++;
      continue;
    }
    check_fails(VKMOE_ERROR_BAD_FILE, {"at most the model's 900"}, [&] { set_tokenizer(model, 900, header); });
    set_tokenizer(model, 1000, header);
    auto file = ModelFile::open(folder.write("vocab.gguf", header.bytes()));
    auto after = Tokenizer::load(*file);
    (file->metadata["tokenizer.ggml.model"] == "llama" ? as_bpe : as_unigram)++;
    CHECK(file->metadata["tokenizer.ggml.padding_token_id"] == 0);
    CHECK(after->vocab_size() == 1000);
    CHECK(after->bos == before->bos);
    CHECK(after->add_bos == before->add_bos);
    CHECK(after->end_ids == before->end_ids);
    CHECK(after->chat_template == before->chat_template);
    for (const json& text : cases["texts"]) {
      std::string some = text;
      CAPTURE(some);
      CHECK(after->encode(some, false) == before->encode(some, false));
      CHECK(after->encode(some + "<|user|>", true) == before->encode(some + "<|user|>", true));
      CHECK(after->decode(after->encode(some, true), true) == before->decode(before->encode(some, true), true));
    }
  }
  CHECK(as_bpe == 1);
  CHECK(as_unigram == 1);
  CHECK(refused == 2);
}

TEST_CASE("a tokenizer.model that is damaged is refused or works") {
  json cases = json::parse(read_file(data_path("vocabs/kinds.json")));
  std::mt19937 random(4);
  int worked = 0, failed = 0;
  for (const json& kind : cases["kinds"]) {
    if (!kind.contains("model")) continue;
    std::string whole = from_base64(kind["model"]);
    for (int i = 0; i < 150; i++) {
      ModelFile model = model_with(json());
      model.sentencepiece = i % 3 ? whole : whole.substr(0, 1 + random() % whole.size());
      // The end holds what the trainer was told and the normalizer.
      for (uint32_t k = 0; k < i % 4u; k++) {
        size_t from_end = random() % (k % 2 ? 400 : model.sentencepiece.size());
        size_t last = model.sentencepiece.size() - 1;
        model.sentencepiece[last - std::min(from_end, last)] = char(random());
      }
      try {
        Tokenizer::load(model)->encode("The <a> of \xff 12 caf\xc3\xa9\n\n  x's", true);
        worked++;
      } catch (const Error& error) {
        failed += std::string(error.what()).find("folder/tokenizer.model") != std::string::npos;
      }
    }
  }
  CHECK(worked + failed == 600);
  CHECK(worked > 50);
  CHECK(failed > 50);
}

namespace {

// The tokenizer.json that transformers makes of a SentencePiece BPE: every pair that is a token, by its score.
json json_from_scores(const json& gguf) {
  const json &texts = gguf["tokenizer.ggml.tokens"], &scores = gguf["tokenizer.ggml.scores"];
  json vocab = json::object(), merges = json::array();
  std::vector<size_t> order;
  for (size_t id = 0; id < texts.size(); id++) {
    vocab[texts[id].get<std::string>()] = id;
    if (gguf["tokenizer.ggml.token_type"][id] == 1) order.push_back(id);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  for (size_t id : order) {
    const std::string text = texts[id];
    for (size_t cut = 1; cut < text.size(); cut++)
      if (vocab.contains(text.substr(0, cut)) && vocab.contains(text.substr(cut)))
        merges.push_back({text.substr(0, cut), text.substr(cut)});
  }
  json model = {{"type", "BPE"},         {"byte_fallback", true}, {"fuse_unk", true},
                {"unk_token", "<unk>"}, {"vocab", vocab},        {"merges", merges}};
  json prepend = {{"type", "Prepend"}, {"prepend", "\u2581"}};
  json replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\u2581"}};
  json added = {{{"id", 1u}, {"content", "<s>"}, {"special", true}}, {{"id", 2u}, {"content", "</s>"}, {"special", true}}};
  json normalizer = {{"type", "Sequence"}, {"normalizers", {prepend, replace}}};
  return {{"model", model}, {"added_tokens", added}, {"normalizer", normalizer}};
}

}  // namespace

TEST_CASE("a tokenizer.json of Llama's kind and tiktoken's ranks are the same in a GGUF") {
  json cases = json::parse(read_file(data_path("vocabs/kinds.json")));
  TestFolder folder("tokenizer-export");
  int tried = 0;
  for (const json& kind : cases["kinds"]) {
    bool llama = kind["name"] == "spm bpe";
    if (!llama && kind["name"] != "tiktoken") continue;
    for (const std::string type : {"TikTokenTokenizer", "HYTokenizer"}) {
      CAPTURE(type);
      ModelFile model = llama ? model_with(json_from_scores(kind["gguf"])) : tiktoken_model(kind["tiktoken"]);
      if (!llama) model.tokenizer_config["tokenizer_class"] = type;
      auto before = Tokenizer::load(model);
      GgufHeader header;
      set_tokenizer(model, before->vocab_size() + 3, header);
      auto file = ModelFile::open(folder.write("vocab.gguf", header.bytes()));
      auto after = Tokenizer::load(*file);
      file->metadata.erase(type[0] == 'T' ? "tokenizer.ggml.merges" : "none");
      auto ranks = Tokenizer::load(*file);
      std::mt19937 random(6);
      for (int i = 0; i < 300; i++) {
        std::string text = cases["texts"][size_t(i) % cases["texts"].size()];
        for (size_t k = random() % 30; k > 0; k--) text += "eat on thi"[random() % 10];
        bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return c > 0; });
        if (type[0] == 'H' && !ascii) continue;  // a GGUF does not say that text is composed (NFC)
        CHECK(after->encode(text, false) == before->encode(text, false));
        CHECK(ranks->encode(text, false) == before->encode(text, false));
      }
      if (!llama) CHECK(file->metadata["tokenizer.ggml.pre"] == (type[0] == 'T' ? "kimi-k2" : "hunyuan"));
      if (!llama) CHECK((after->encode("<|pad|>", true).size() == 1) == (type[0] == 'H'));
      tried++;
    }
  }
  CHECK(tried == 4);
  // Scores cannot say that merges of one text have others between them.
  ModelFile model = model_with(json::parse(R"({"model": {"type": "BPE", "byte_fallback": true,
      "merges": ["a b", "b c", "ab c", "b a", "a bc"], "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4, "abc": 5, "ba": 6}}})"));
  GgufHeader header;
  check_fails(VKMOE_ERROR_UNSUPPORTED, {"folder/tokenizer.json", "characters"}, [&] { set_tokenizer(model, 7, header); });
}

TEST_CASE("a tiktoken.model's special tokens, and what is wrong with one") {
  std::string bytes;
  for (int b = 0; b < 256; b++) {
    const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes += cat(digits[b >> 2], digits[(b & 3) << 4], "== ", b, "\n");
  }
  ModelFile model = tiktoken_model(bytes + "YWI= 256\nYWJj 257\nYmM= 258\n");
  model.tokenizer_config["added_tokens_decoder"] = {{"259", {{"content", "[BOS]"}, {"special", true}}},
                                                    {"261", {{"content", "<|im_end|>"}, {"special", true}}}};
  model.tokenizer_config["bos_token"] = "[BOS]";
  model.tokenizer_config["eos_token"] = "<|im_end|>";
  auto tokenizer = Tokenizer::load(model);
  CHECK(tokenizer->vocab_size() == 259 + 256);
  CHECK(tokenizer->encode("abc xabcd", false) == std::vector<int32_t>{257, ' ', 'x', 257, 'd'});  // "ab" before "bc"
  std::vector<int32_t> special = tokenizer->encode("[BOS]ab<|im_end|><|reserved_token_260|>", true);
  CHECK(special == std::vector<int32_t>{259, 256, 261, 260});
  CHECK(tokenizer->bos == 259);
  CHECK(tokenizer->end_ids == std::vector<int32_t>{261});
  CHECK(!tokenizer->add_bos);

  auto fails = [&](vkmoe_status status, std::initializer_list<const char*> parts, const std::string& text,
                   const char* kind = "TikTokenTokenizer") {
    ModelFile bad = tiktoken_model(text);
    bad.tokenizer_config["tokenizer_class"] = kind;
    check_fails(status, parts, [&] { Tokenizer::load(bad); });
  };
  fails(VKMOE_ERROR_UNSUPPORTED, {"tokenizer_config.json", "tokenizer_class 'QWenTokenizer'"}, bytes, "QWenTokenizer");
  fails(VKMOE_ERROR_BAD_FILE, {"folder/tiktoken.model", "line 257", "\"YWI 256\""}, bytes + "YWI 256\n");
  for (const char* line :
       {"YWI=\n", "YWI= \n", "YWI= -1\n", "YWI= 99999999999999999999\n", "YWI= 258\n", "Y*I= 256\n", " 256\n"})
    fails(VKMOE_ERROR_BAD_FILE, {"line 257", "base64", "below 258"}, bytes + line);
  fails(VKMOE_ERROR_BAD_FILE, {"line 257", "rank 7 stands twice"}, bytes + "YWI= 7\n");
  auto long_token = cat(std::string(4 * 342, 'A'), " 256\n");
  fails(VKMOE_ERROR_UNSUPPORTED, {"token 256", "1026 bytes"}, bytes + long_token);
  check_fails(VKMOE_ERROR_UNSUPPORTED, {"no token for byte 97"},
              [] { Tokenizer::load(tiktoken_model("Yg== 0\n"))->encode("a", false); });
}
