// tokenizer.json, the format of Hugging Face's `tokenizers`. Called by Tokenizer::load(). Its normalizers,
// pre-tokenizers and decoders are read by json_pipeline.cpp.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "loader/json_file.h"
#include "loader/json_pipeline.h"
#include "loader/tokenizer_parts.h"
#include "loader/unigram.h"

namespace vkmoe {

using nlohmann::json;

namespace {

struct JsonTokenizer : JsonPipeline {
  const json& root;
  std::string model_type;

  JsonTokenizer(const json& root, const std::string& origin) : JsonPipeline(origin), root(root) {}

  const json& check_model() {
    const json* model = json_member(root, "model");
    if (!model || !model->is_object()) bad("expected an object 'model', found none");
    model_type = json_string(*model, "type", origin);
    if (model_type.empty())  // older files leave it out
      model_type = json_member(*model, "merges") ? "BPE" : json_member(*model, "unk_id") ? "Unigram" : "BPE";
    if (model_type != "BPE" && model_type != "Unigram" && model_type != "WordPiece") unsupported("model ", model_type);
    if (model_type == "BPE")
      for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
        if (!json_string(*model, key, origin).empty()) unsupported("model.", key);
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

  void unigram_vocabulary(const json& model) {
    for (const json& entry : list(model, "vocab")) {
      if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
        bad("model.vocab: expected a text and a score, found ", json_excerpt(entry));
      parts.tokens.push_back({entry[0].get<std::string>(), TokenKind::normal});
      parts.tokens.back().score = entry[1].get<double>();
    }
  }

  void vocabulary(const json& model) {
    if (model_type == "Unigram") return unigram_vocabulary(model);
    const json* vocab = json_member(model, "vocab");
    if (!vocab || !vocab->is_object()) bad("expected an object 'model.vocab', found none");
    for (const auto& [text, id] : vocab->items()) {
      Token& token = token_at(id, vocab->size(), text);
      if (token.kind != TokenKind::missing) bad("tokens '", token.text, "' and '", text, "' have the same id ", id);
      token.text = text;
      token.kind = TokenKind::normal;
    }
  }

  std::vector<std::pair<std::string, std::string>> merges(const json& model) const {
    std::vector<std::pair<std::string, std::string>> merges;
    for (const json& merge : list(model, "merges")) {
      bool good = false;
      if (merge.is_string()) {
        std::string_view text = merge.get_ref<const std::string&>();
        size_t space = text.find(' ');
        good = space != text.npos && text.find(' ', space + 1) == text.npos;
        if (good) merges.emplace_back(text.substr(0, space), text.substr(space + 1));
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        good = true;
        merges.emplace_back(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
      }
      if (!good) bad("merge ", merges.size(), ": expected two strings, found ", json_excerpt(merge));
    }
    return merges;
  }

  void added_tokens() {
    const json* added = json_member(root, "added_tokens");
    if (!added) return;
    if (!added->is_array()) bad("expected an array 'added_tokens', found ", json_excerpt(*added));
    std::unordered_map<std::string, size_t> vocab;
    for (size_t id = 0; id < parts.tokens.size(); id++)
      if (parts.tokens[id].kind != TokenKind::missing) vocab[parts.tokens[id].text] = id;
    size_t known = parts.tokens.size() + added->size();
    for (const json& entry : *added) {
      std::string text = json_string(entry, "content", origin);
      const json* id = json_member(entry, "id");
      if (text.empty() || !id) bad("added_tokens: expected an id and a content, found ", json_excerpt(entry));
      Token& token = token_at(*id, known, text);
      if (token.kind != TokenKind::missing && token.text != text)
        bad("tokens '", token.text, "' and '", text, "' have the same id ", *id);
      auto twin = vocab.find(text);
      if (twin != vocab.end() && *id != twin->second)
        bad("added token '", text, "' has id ", *id, ", but ", twin->second, " in the vocabulary");
      token.text = text;
      token.kind = json_bool(entry, "special", origin, false) ? TokenKind::control : TokenKind::added;
      token.left_strip = json_bool(entry, "lstrip", origin, false);
      token.right_strip = json_bool(entry, "rstrip", origin, false);
      token.normalized = json_bool(entry, "normalized", origin, false);
      token.single_word = json_bool(entry, "single_word", origin, false);
    }
  }

  int32_t find(const std::string& text) const { return find_token(parts.tokens, text); }

  Fallback fallback(const json& model) {
    Fallback found;
    found.unknown = find(json_string(model, "unk_token", origin));
    found.fuse = model_type != "BPE" || json_bool(model, "fuse_unk", origin, false);
    if (!json_bool(model, "byte_fallback", origin, false)) return found;
    found.find_bytes(parts.tokens);
    if (!found.has_bytes) return found;
    for (int32_t id : found.bytes) parts.tokens[size_t(id)].kind = TokenKind::byte;
    return found;
  }

  void bpe(const json& model) {
    BpeParts bpe;
    bpe.origin = origin;
    bpe.bytes = byte_level;
    bpe.ignore_merges = json_bool(model, "ignore_merges", origin, false);
    bpe.merges = merges(model);
    if (byte_level) {
      decode_byte_level(parts.tokens);
    } else {
      bpe.fallback = fallback(model);
    }
    parts.model = std::make_unique<BpeModel>(parts.tokens, std::move(bpe));
  }

  void unigram(const json& model) {
    if (byte_level) unsupported("a pre_tokenizer ByteLevel before a Unigram model");
    Fallback unknowns = fallback(model);
    std::vector<int32_t> unknown = json_ids(model, "unk_id", origin);
    if (unknown.size() > 1 || (unknown.size() == 1 && size_t(unknown[0]) >= parts.tokens.size()))
      bad("'unk_id': expected an id below ", parts.tokens.size(), ", found ", json_excerpt(model["unk_id"]));
    if (!unknown.empty()) unknowns.unknown = unknown[0];
    std::vector<std::string_view> texts;
    std::vector<double> scores;
    double least = 0;
    size_t in_model = model["vocab"].size();
    for (size_t id = 0; id < parts.tokens.size(); id++) {
      const Token& token = parts.tokens[id];
      if (id < in_model) least = std::min(least, token.score);
      bool usable = token.kind == TokenKind::normal || (token.kind == TokenKind::added && id < in_model);
      texts.push_back(token.text);
      scores.push_back(usable && int32_t(id) != unknowns.unknown ? token.score : -INFINITY);
    }
    parts.model = std::make_unique<UnigramModel>(texts, std::move(scores), unknowns, least - 10);
  }

  void wordpiece(const json& model) {
    if (byte_level) unsupported("a pre_tokenizer ByteLevel before a WordPiece model");
    std::string prefix = json_string(model, "continuing_subword_prefix", origin, "##");
    int32_t unknown = find(json_string(model, "unk_token", origin, "[UNK]"));
    const json* most = json_member(model, "max_input_chars_per_word");
    if (most && !most->is_number_unsigned())
      bad("'max_input_chars_per_word': expected a whole number, found ", json_excerpt(*most));
    std::vector<bool> begins;
    for (Token& token : parts.tokens) {
      bool continues = !prefix.empty() && token.text.size() > prefix.size() && token.text.starts_with(prefix);
      if (continues && token.kind == TokenKind::normal) token.text.erase(0, prefix.size());
      begins.push_back(!continues);
    }
    wordpiece_model(parts, begins, unknown, most ? most->get<size_t>() : 100);
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

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_json(const ModelFile& file) {
  std::string origin = file.path + "/tokenizer.json";
  if (file.tokenizer.is_null())
    fail(VKMOE_ERROR_NOT_FOUND, origin, ": missing, and so are tokenizer.model and tiktoken.model; other tokenizers cannot be read");
  JsonTokenizer source(file.tokenizer, origin);
  source.parts.origin = origin;
  const json& model = source.check_model();
  if (const json* part = json_member(file.tokenizer, "normalizer")) source.normalizer(*part);
  if (const json* part = json_member(file.tokenizer, "pre_tokenizer")) source.pre_tokenizer(*part);
  if (const json* part = json_member(file.tokenizer, "decoder")) source.decoder(*part);
  source.vocabulary(model);
  source.added_tokens();

  std::string first;
  if (const json* part = json_member(file.tokenizer, "post_processor")) first = source.first_of_template(*part);
  FolderConfig config = read_folder_config(file, source.parts.tokens, first, !first.empty());

  if (source.model_type == "Unigram") {
    source.unigram(model);
  } else if (source.model_type == "WordPiece") {
    source.wordpiece(model);
  } else {
    source.bpe(model);
  }
  auto tokenizer = std::make_unique<TextTokenizer>(std::move(source.parts));
  finish_tokenizer(*tokenizer, file, config);
  return tokenizer;
}

}  // namespace vkmoe
