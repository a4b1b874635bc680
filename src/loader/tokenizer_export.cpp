#include "loader/tokenizer_export.h"

#include <unordered_map>

#include "base/error.h"
#include "loader/json_file.h"
#include "loader/tokenizer_parts.h"
#include "loader/utf8.h"

namespace vkmoe {

using nlohmann::json;

namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
}

// Tokenizers leave some control tokens unmarked; these shapes of text are taken for such.
bool looks_special(const std::string& text) {
  for (const char* known : {"<pad>", "<mask>", "<2mass>", "[@BOS@]"})
    if (text == known) return true;
  return (text.starts_with("<|") && text.ends_with("|>")) || (text.starts_with("<\uff5c") && text.ends_with("\uff5c>")) ||
         (text.starts_with("<unused") && text.ends_with(">"));
}

struct Exporter {
  const ModelFile& folder;
  GgufHeader& header;
  std::string origin;
  json keys = json::object();  // what has been set

  void set(const std::string& key, const json& value) {
    keys[key] = value;
    header.set(key, value);
  }

  const json& added_tokens() const {
    static const json none = json::array();
    const json* added = json_member(folder.tokenizer, "added_tokens");
    return added ? *added : none;
  }

  void tokens(uint32_t vocab, bool byte_fallback) {
    std::vector<std::string> texts(vocab);
    std::vector<int32_t> types(vocab, type_unused);
    auto place = [&](const json& id, const std::string& text, int32_t type) {
      if (id >= vocab)
        fail(VKMOE_ERROR_BAD_FILE, origin, ": token '", text, "': expected an id below the model's ", vocab, ", found ",
             id.dump());
      texts[id.get<size_t>()] = text;
      types[id.get<size_t>()] = type;
    };
    const json& model = folder.tokenizer["model"];
    std::string unknown = byte_fallback ? json_string(model, "unk_token", origin) : "";
    for (const auto& [text, id] : model["vocab"].items())
      place(id, text, byte_fallback && byte_token_value(text) >= 0 ? type_byte
                      : byte_fallback && text == unknown           ? type_unknown
                                                                   : type_normal);
    for (const json& entry : added_tokens()) {
      std::string text = entry["content"];
      bool control = json_bool(entry, "special", origin, false) || looks_special(text);
      if (!control) replace_all(text, "\u2581", " ");
      if (text != unknown) place(entry["id"], text, control ? type_control : type_user_defined);
    }
    for (uint32_t id = 0; id < vocab; id++)
      if (types[id] == type_unused) texts[id] = cat("[PAD", id, "]");
    set("tokenizer.ggml.tokens", texts);
    set("tokenizer.ggml.token_type", types);
  }

  void merges() {
    json merges = json::array();
    for (const json& merge : folder.tokenizer["model"]["merges"]) {
      if (merge.is_string()) {
        merges.push_back(merge);
        continue;
      }
      std::string left = merge[0], right = merge[1];
      for (std::string* part : {&left, &right}) replace_all(*part, " ", "\u0120");
      merges.push_back(left + " " + right);
    }
    set("tokenizer.ggml.merges", merges);
  }

  // Scores in the order of the merges: with them SentencePiece's BPE, which merges any two neighbours whose joint text is
  // a token, does the same. Whether it does, and whether a space is put before a text, is tried.
  void scores(const Tokenizer& own) {
    std::unordered_map<std::string, int32_t> ranks;
    std::string joint, last;
    for (const json& merge : folder.tokenizer["model"]["merges"]) {
      if (!merge.is_string()) {
        joint = merge[0].get_ref<const std::string&>() + merge[1].get_ref<const std::string&>();
      } else {
        joint = merge.get_ref<const std::string&>();
        joint.erase(joint.find(' '), 1);
      }
      if (!ranks.emplace(joint, int32_t(ranks.size())).second && joint != last) refuse();
      last = joint;
    }
    std::vector<float> values;
    for (size_t id = 0; id < keys["tokenizer.ggml.tokens"].size(); id++) {
      const std::string& text = keys["tokenizer.ggml.tokens"][id].get_ref<const std::string&>();
      auto rank = ranks.find(text);
      bool single = utf8_char(text) == int(text.size());
      if (rank == ranks.end() && !single && keys["tokenizer.ggml.token_type"][id] == type_normal) refuse();
      values.push_back(rank == ranks.end() ? 0 : -float(rank->second));
    }
    set("tokenizer.ggml.scores", values);
    for (bool prefix : {true, false}) {
      set("tokenizer.ggml.add_space_prefix", prefix);
      ModelFile made;
      made.path = origin;
      made.metadata = keys;
      auto tokenizer = Tokenizer::load(made);
      bool same = true;
      for (const char* text : {"a", " The cat's  cafés\n\n  12345 <s>", "x+=1;\t中文😀 "})
        same = same && tokenizer->encode(text, false) == own.encode(text, false);
      if (same) return;
    }
    refuse();
  }

  [[noreturn]] void refuse() const {
    fail(VKMOE_ERROR_UNSUPPORTED, origin, ": a GGUF cannot say this BPE over characters; with SentencePiece's ",
         "tokenizer.model beside it the folder can be written");
  }

  // By the text in tokenizer_config.json, else by the id in config.json.
  void special(const char* name, const char* key, int32_t known) {
    int32_t id = known;
    const json* text = json_member(folder.tokenizer_config, cat(name, "_token").c_str());
    if (text && text->is_object()) text = json_member(*text, "content");
    for (const json& entry : added_tokens())
      if (id < 0 && text && *text == entry["content"]) id = entry["id"];
    const json* number = json_member(folder.metadata, cat(name, "_token_id").c_str());
    if (id < 0 && number && number->is_number_unsigned() && *number <= INT32_MAX) id = *number;
    if (id >= 0) set(cat("tokenizer.ggml.", key, "_token_id"), uint32_t(id));
  }
};

}  // namespace

void set_tokenizer(const ModelFile& folder, uint32_t vocab, GgufHeader& header) {
  auto tokenizer = Tokenizer::load(folder);  // checks all that is read below
  Exporter exporter{folder, header, folder.path + "/tokenizer.json"};
  auto parts = dynamic_cast<const TextTokenizer*>(tokenizer.get());
  const json* model = json_member(folder.tokenizer, "model");
  bool bpe = model && json_string(*model, "type", exporter.origin, "BPE") == "BPE";
  bool byte_fallback = bpe && json_bool(*model, "byte_fallback", exporter.origin, false);
  bool byte_level = bpe && !byte_fallback;
  if (byte_level) {
    bool ignore_merges = json_bool(*model, "ignore_merges", exporter.origin, false);
    exporter.set("tokenizer.ggml.model", "gpt2");
    exporter.set("tokenizer.ggml.pre", find_pre_name(parts->pre_tokenizer(), ignore_merges, exporter.origin));
    exporter.tokens(vocab, false);
    exporter.merges();
    exporter.special("unk", "unknown", -1);
  } else if (!folder.sentencepiece.empty()) {
    set_sentencepiece(folder, vocab, header);
  } else if (byte_fallback) {
    exporter.set("tokenizer.ggml.model", "llama");
    exporter.set("tokenizer.ggml.pre", "default");
    exporter.tokens(vocab, true);
    if (int32_t id = find_token(parts->tokens(), json_string(*model, "unk_token", exporter.origin)); id >= 0)
      exporter.set("tokenizer.ggml.unknown_token_id", uint32_t(id));
    exporter.scores(*tokenizer);
  } else if (!folder.tiktoken.empty()) {
    set_tiktoken(folder, parts->tokens(), vocab, header);
  } else {
    fail(VKMOE_ERROR_UNSUPPORTED, exporter.origin,
         ": only a BPE, or a model with SentencePiece's tokenizer.model, can be written to a GGUF");
  }
  exporter.special("bos", "bos", tokenizer->bos);
  exporter.special("eos", "eos", byte_level || tokenizer->end_ids.empty() ? -1 : tokenizer->end_ids[0]);
  exporter.special("sep", "seperator", -1);  // as ggml spells it
  exporter.special("pad", "padding", -1);
  exporter.special("cls", "cls", -1);
  exporter.special("mask", "mask", -1);
  header.set("tokenizer.ggml.add_bos_token", tokenizer->add_bos);
  if (json_bool(folder.tokenizer_config, "add_eos_token", folder.path + "/tokenizer_config.json", false))
    header.set("tokenizer.ggml.add_eos_token", true);
  if (!tokenizer->chat_template.empty()) header.set("tokenizer.chat_template", tokenizer->chat_template);
}

}  // namespace vkmoe
