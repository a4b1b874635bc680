// tokenizer.json, the format of Hugging Face's `tokenizers`: byte-level BPE. Called by Tokenizer::load().
#include "base/error.h"
#include "loader/bpe.h"
#include "loader/json_file.h"
#include "loader/tokenizer_parts.h"

namespace vkmoe {

using nlohmann::json;

namespace {

struct JsonTokenizer {
  const json& root;
  std::string origin;
  BpeParts parts;
  bool byte_level = false;

  template <class... Parts>
  [[noreturn]] void unsupported(const Parts&... what) const {
    fail(VKMOE_ERROR_UNSUPPORTED, origin, ": ", what..., " is not supported");
  }
  template <class... Parts>
  [[noreturn]] void bad(const Parts&... what) const {
    fail(VKMOE_ERROR_BAD_FILE, origin, ": ", what...);
  }

  std::string type_of(const json& part, const char* key) const {
    std::string type = json_string(part, "type", origin);
    if (type.empty()) bad(key, ": expected an object with a type, found ", json_excerpt(part));
    return type;
  }

  const json& list(const json& part, const char* key) const {
    const json* value = json_member(part, key);
    if (!value || !value->is_array()) bad("expected an array '", key, "'");
    return *value;
  }

  void normalizer(const json& part) {
    std::string type = type_of(part, "normalizer");
    if (type == "Sequence") {
      for (const json& step : list(part, "normalizers")) normalizer(step);
    } else if (type == "NFC") {
      parts.nfc = true;
    } else {
      unsupported("normalizer ", type);
    }
  }

  void split(const json& part) {
    std::string behavior = json_string(part, "behavior", origin);
    // Removed with invert keeps the matches and drops what lies between; patterns of that kind match everything.
    if (behavior != "Isolated" && !(behavior == "Removed" && json_bool(part, "invert", origin, false)))
      unsupported("pre_tokenizer Split with behavior ", behavior);
    const json* pattern = json_member(part, "pattern");
    if (!pattern) bad("pre_tokenizer Split: expected a pattern, found none");
    std::string regex = json_string(*pattern, "Regex", origin), text = json_string(*pattern, "String", origin);
    if (!regex.empty()) {
      parts.pre_tokenizer.add_regex(regex, origin);
    } else if (!text.empty()) {
      parts.pre_tokenizer.add_literal(text, origin);
    } else {
      bad("pre_tokenizer Split: expected a pattern Regex or String, found ", json_excerpt(*pattern));
    }
  }

  void pre_tokenizer(const json& part) {
    std::string type = type_of(part, "pre_tokenizer");
    if (byte_level) unsupported("pre_tokenizer ", type, " after ByteLevel");
    if (type == "Sequence") {
      for (const json& step : list(part, "pretokenizers")) pre_tokenizer(step);
    } else if (type == "Split") {
      split(part);
    } else if (type == "Digits") {
      bool single = json_bool(part, "individual_digits", origin, false);
      parts.pre_tokenizer.add_regex(single ? R"(\p{N})" : R"(\p{N}+)", origin);
    } else if (type == "ByteLevel") {
      if (json_bool(part, "add_prefix_space", origin, true)) unsupported("ByteLevel with add_prefix_space");
      if (json_bool(part, "use_regex", origin, true)) parts.pre_tokenizer.add_regex(gpt2_pattern, origin);
      byte_level = true;
    } else {
      unsupported("pre_tokenizer ", type);
    }
  }

  const json& check_model() const {
    const json* model = json_member(root, "model");
    if (!model || !model->is_object()) bad("expected an object 'model', found none");
    std::string type = json_string(*model, "type", origin, "BPE");  // older files leave it out
    if (type != "BPE") unsupported("model ", type);
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!json_string(*model, key, origin).empty()) unsupported("model.", key);
    if (json_bool(*model, "byte_fallback", origin, false)) unsupported("model.byte_fallback");
    return *model;
  }

  Token& token_at(const json& id, size_t known, const std::string& text) {
    // Ids may leave gaps, but not such that a small file makes a large table.
    uint64_t limit = 4 * uint64_t(known) + 65536;
    if (!id.is_number_unsigned() || id >= limit)
      bad("token '", text, "': expected an id below ", limit, ", found ", json_excerpt(id));
    size_t index = id.get<size_t>();
    if (index >= parts.tokens.size()) parts.tokens.resize(index + 1);
    return parts.tokens[index];
  }

  void vocabulary(const json& model) {
    const json* vocab = json_member(model, "vocab");
    if (!vocab || !vocab->is_object()) bad("expected an object 'model.vocab', found none");
    for (const auto& [text, id] : vocab->items()) {
      Token& token = token_at(id, vocab->size(), text);
      if (token.kind != TokenKind::missing) bad("tokens '", token.text, "' and '", text, "' have the same id ", id);
      token.text = text;
      token.kind = TokenKind::normal;
    }
  }

  void merges(const json& model) {
    for (const json& merge : list(model, "merges")) {
      bool good = false;
      if (merge.is_string()) {
        std::string_view text = merge.get_ref<const std::string&>();
        size_t space = text.find(' ');
        good = space != text.npos && text.find(' ', space + 1) == text.npos;
        if (good) parts.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        good = true;
        parts.merges.emplace_back(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
      }
      if (!good) bad("merge ", parts.merges.size(), ": expected two strings, found ", json_excerpt(merge));
    }
  }

  void added_tokens() {
    const json* added = json_member(root, "added_tokens");
    if (!added) return;
    if (!added->is_array()) bad("expected an array 'added_tokens', found ", json_excerpt(*added));
    const json& vocab = root["model"]["vocab"];
    size_t known = parts.tokens.size() + added->size();
    for (const json& entry : *added) {
      std::string text = json_string(entry, "content", origin);
      const json* id = json_member(entry, "id");
      if (text.empty() || !id) bad("added_tokens: expected an id and a content, found ", json_excerpt(entry));
      Token& token = token_at(*id, known, text);
      if (token.kind != TokenKind::missing && token.text != text)
        bad("tokens '", token.text, "' and '", text, "' have the same id ", *id);
      auto twin = vocab.find(text);
      if (twin != vocab.end() && *twin != *id)
        bad("added token '", text, "' has id ", *id, ", but ", *twin, " in the vocabulary");
      if (json_bool(entry, "single_word", origin, false)) unsupported("added token '", text, "' with single_word");
      token.text = text;
      token.kind = json_bool(entry, "special", origin, false) ? TokenKind::control : TokenKind::added;
      token.left_strip = json_bool(entry, "lstrip", origin, false);
      token.right_strip = json_bool(entry, "rstrip", origin, false);
      token.normalized = json_bool(entry, "normalized", origin, false);
    }
  }

  // The id of a token's text, or -1.
  int32_t find(const std::string& text) const {
    if (text.empty()) return -1;
    if (const json* added = json_member(root, "added_tokens"))
      for (const json& entry : *added)
        if (entry["content"] == text) return entry["id"].get<int32_t>();
    const json& vocab = root["model"]["vocab"];
    auto found = vocab.find(text);
    return found == vocab.end() ? -1 : found->get<int32_t>();
  }

  // The text of the special token that the post-processor puts before everything else, or "".
  std::string first_of_template(const json& part) const {
    std::string type = type_of(part, "post_processor");
    if (type == "Sequence") {
      for (const json& step : list(part, "processors"))
        if (std::string text = first_of_template(step); !text.empty()) return text;
      return "";
    }
    if (type != "TemplateProcessing") return "";
    const json& single = list(part, "single");
    const json* special = single.empty() ? nullptr : json_member(single[0], "SpecialToken");
    return special ? json_string(*special, "id", origin) : "";
  }
};

// A special token in tokenizer_config.json: a string, or an object with "content".
std::string special_text(const json& config, const char* key, const std::string& name) {
  const json* value = json_member(config, key);
  if (value && value->is_object()) return json_string(*value, "content", name);
  return json_string(config, key, name);
}

std::string chat_template_of(const json& config, const std::string& name) {
  const json* value = json_member(config, "chat_template");
  if (!value || !value->is_array()) return json_string(config, "chat_template", name);
  for (const json& entry : *value)
    if (json_string(entry, "name", name) == "default") return json_string(entry, "template", name);
  return "";
}

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_json(const ModelFile& file) {
  std::string origin = file.path + "/tokenizer.json";
  if (file.tokenizer.is_null())
    fail(VKMOE_ERROR_NOT_FOUND, origin, ": missing; of a model folder's tokenizers only tokenizer.json can be read");
  JsonTokenizer source{file.tokenizer, origin, {}};
  source.parts.origin = origin;
  const json& model = source.check_model();
  if (const json* part = json_member(file.tokenizer, "normalizer")) source.normalizer(*part);
  if (const json* part = json_member(file.tokenizer, "pre_tokenizer")) source.pre_tokenizer(*part);
  if (!source.byte_level) source.unsupported("a pre_tokenizer without ByteLevel");
  if (const json* part = json_member(file.tokenizer, "decoder")) {
    std::string type = source.type_of(*part, "decoder");
    if (type != "ByteLevel") source.unsupported("decoder ", type);
  }
  source.parts.ignore_merges = json_bool(model, "ignore_merges", origin, false);
  source.vocabulary(model);
  source.merges(model);
  source.added_tokens();
  auto tokenizer = std::make_unique<BpeTokenizer>(std::move(source.parts));

  const json& config = file.tokenizer_config;
  std::string config_name = file.path + "/tokenizer_config.json";
  std::string first;
  if (const json* part = json_member(file.tokenizer, "post_processor")) first = source.first_of_template(*part);
  tokenizer->bos_text = special_text(config, "bos_token", config_name);
  if (tokenizer->bos_text.empty()) tokenizer->bos_text = first;
  tokenizer->bos = source.find(tokenizer->bos_text);
  bool adds = !first.empty() && first == tokenizer->bos_text;
  tokenizer->add_bos = tokenizer->bos >= 0 && json_bool(config, "add_bos_token", config_name, adds);

  tokenizer->eos_text = special_text(config, "eos_token", config_name);
  if (int32_t id = source.find(tokenizer->eos_text); id >= 0) add_end_id(*tokenizer, id);
  for (int32_t id : json_ids(file.generation_config, "eos_token_id", file.path + "/generation_config.json"))
    add_end_id(*tokenizer, id);
  for (int32_t id : json_ids(file.metadata, "eos_token_id", file.path + "/config.json")) add_end_id(*tokenizer, id);
  if (tokenizer->eos_text.empty() && !tokenizer->end_ids.empty())
    tokenizer->eos_text = tokenizer->token_bytes(tokenizer->end_ids[0], true);
  tokenizer->chat_template = chat_template_of(config, config_name);
  return tokenizer;
}

}  // namespace vkmoe
