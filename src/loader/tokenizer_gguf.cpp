// A GGUF's tokenizer.ggml.* keys: byte-level BPE ("gpt2"), SentencePiece's BPE ("llama") and unigram ("t5"), WordPiece
// ("bert"). Called by Tokenizer::load(). Defaults are llama.cpp's.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "loader/json_file.h"
#include "loader/tokenizer_parts.h"
#include "loader/unigram.h"

namespace vkmoe {

using nlohmann::json;

namespace {

// Tokens that end a turn, for files that name only the end of the text.
const char* const end_texts[] = {"<|im_end|>",      "<|eot_id|>",  "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>",
                                 "<end_of_turn>",   "<|end|>",     "<|eot|>",    "<|return|>",    "<|endofturn|>",
                                 "<|call|>"};

struct GgufTokenizer {
  const json& metadata;
  const std::string& path;
  TokenizerParts parts{};
  bool has_bytes = false;

  template <class... What>
  [[noreturn]] void bad(const char* key, const What&... what) const {
    fail(VKMOE_ERROR_BAD_FILE, path, ": key '", key, "': ", what...);
  }

  const json& strings(const char* key) const {
    const json* value = json_member(metadata, key);
    if (!value || !value->is_array())
      bad(key, "expected an array of strings, found ", value ? json_excerpt(*value) : "none");
    if (!value->empty() && !(*value)[0].is_string())  // a GGUF's arrays have values of one type
      bad(key, "expected an array of strings, found numbers");
    return *value;
  }

  void set_type(Token& token, const json& type) {
    int64_t value = type.is_number_integer() ? type.get<int64_t>() : 0;
    if (value < type_normal || value > type_byte)
      bad("tokenizer.ggml.token_type", "expected values from 1 to 6, found ", json_excerpt(type));
    bool byte = value == type_byte && byte_token_value(token.text) >= 0;
    token.kind = value == type_control || value == type_unknown ? TokenKind::control
                 : value == type_user_defined                  ? TokenKind::added
                 : byte                                        ? TokenKind::byte
                                                               : TokenKind::normal;
    token.unused = value == type_unused;
    has_bytes = has_bytes || byte;
  }

  void tokens() {
    const json& texts = strings("tokenizer.ggml.tokens");
    if (texts.empty()) fail(VKMOE_ERROR_BAD_FILE, path, ": key 'tokenizer.ggml.tokens' is empty");
    auto list = [&](const char* key) {
      const json* values = json_member(metadata, key);
      if (values && (!values->is_array() || values->size() != texts.size()))
        bad(key, "expected an array of ", texts.size(), ", found ", json_excerpt(*values));
      return values;
    };
    const json *types = list("tokenizer.ggml.token_type"), *scores = list("tokenizer.ggml.scores");
    if (scores && !scores->empty() && !(*scores)[0].is_number())
      bad("tokenizer.ggml.scores", "expected numbers, found ", json_excerpt(*scores));
    parts.tokens.resize(texts.size());
    for (size_t i = 0; i < texts.size(); i++) {
      Token& token = parts.tokens[i];
      token.text = texts[i].get_ref<const std::string&>();
      token.kind = TokenKind::normal;
      if (types) set_type(token, (*types)[i]);
      if (scores) token.score = (*scores)[i].get<double>();
      if (!(std::fabs(token.score) < 1e30)) bad("tokenizer.ggml.scores", "value ", i, " is not finite");
    }
  }

  std::vector<std::pair<std::string, std::string>> merges() const {
    std::vector<std::pair<std::string, std::string>> merges;
    for (const json& merge : strings("tokenizer.ggml.merges")) {
      const std::string& text = merge.get_ref<const std::string&>();
      size_t space = text.find(' ', 1);
      if (space == text.npos) bad("tokenizer.ggml.merges", "expected two texts and a space, found '", text, "'");
      merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    }
    return merges;
  }

  // The id of a tokenizer.ggml.*_token_id, or the fallback where that is in the vocabulary, or -1.
  int32_t special(const char* key, int32_t fallback = -1) const {
    std::vector<int32_t> ids = json_ids(metadata, key, path);
    if (ids.empty()) return size_t(fallback) < parts.tokens.size() ? fallback : -1;
    if (ids.size() > 1 || size_t(ids[0]) >= parts.tokens.size())
      bad(key, "expected an id below ", parts.tokens.size(), ", found ", json_excerpt(metadata[key]));
    return ids[0];
  }

  bool flag(const char* key, bool fallback) const { return json_bool(metadata, key, path, fallback); }

  void byte_level_bpe(const PreRule& rule) {
    BpeParts bpe;
    bpe.origin = path;
    bpe.bytes = !rule.spaces;
    bpe.ignore_merges = rule.ignore_merges;
    bpe.whole_newlines = rule.whole_newlines;
    bpe.skip_unknown_merges = true;
    for (const char* pattern : rule.patterns) parts.pre_tokenizer.add_split(Regex(pattern, path));
    // The first files of Kimi-K2 have no merges: a token's id is its rank, as in tiktoken.model.
    bool ranks = std::string_view(rule.names[0]) == "kimi-k2" && !json_member(metadata, "tokenizer.ggml.merges");
    if (ranks) {
      bpe.by_score = bpe.ignore_merges = true;
      for (size_t id = 0; id < parts.tokens.size(); id++) parts.tokens[id].score = -double(id);
    } else {
      bpe.merges = merges();
    }
    if (rule.spaces) {
      Normalizer::SentencePieceRule spaces;
      parts.normalizer.add_sentencepiece(std::move(spaces));
      parts.space_symbol = true;
      bpe.fallback.find_bytes(parts.tokens);
    } else {
      decode_byte_level(parts.tokens);
    }
    parts.model = std::make_unique<BpeModel>(parts.tokens, std::move(bpe));
  }

  Fallback fallback(int32_t unknown) const {
    Fallback found;
    found.unknown = special("tokenizer.ggml.unknown_token_id", unknown);
    if (has_bytes) found.find_bytes(parts.tokens);
    return found;
  }

  void sentencepiece_bpe() {
    BpeParts bpe;
    bpe.origin = path;
    bpe.by_score = true;
    bpe.fallback = fallback(0);
    Normalizer::SentencePieceRule spaces;
    spaces.prefix = parts.strip_first_space = flag("tokenizer.ggml.add_space_prefix", true);
    parts.normalizer.add_sentencepiece(std::move(spaces));
    parts.space_symbol = true;
    parts.model = std::make_unique<BpeModel>(parts.tokens, std::move(bpe));
  }

  std::string charsmap() const {
    const char* key = "tokenizer.ggml.precompiled_charsmap";
    std::string bytes;
    const json* value = json_member(metadata, key);
    if (!value) return bytes;
    if (!value->is_array()) bad(key, "expected an array of bytes, found ", json_excerpt(*value));
    for (const json& byte : *value) {
      if (!byte.is_number_integer() || byte < -128 || byte > 255)
        bad(key, "expected an array of bytes, found ", json_excerpt(byte));
      bytes += char(byte.get<int>());
    }
    return bytes;
  }

  void unigram() {
    std::vector<std::string_view> texts;
    std::vector<double> scores;
    double least = INFINITY;
    Normalizer::SentencePieceRule rule;
    for (size_t id = 0; id < parts.tokens.size(); id++) {
      const Token& token = parts.tokens[id];
      bool normal = token.kind == TokenKind::normal && !token.unused, added = token.kind == TokenKind::added;
      if (normal) least = std::min(least, token.score);
      if (added && !token.text.empty()) rule.keep.add(token.text, int32_t(id));
      texts.push_back(token.text);
      scores.push_back(normal ? token.score : added ? 0 : -INFINITY);
    }
    rule.map = Charsmap(charsmap(), path);
    rule.prefix = parts.strip_first_space = flag("tokenizer.ggml.add_space_prefix", false);
    rule.merge_spaces = flag("tokenizer.ggml.remove_extra_whitespaces", false);
    parts.normalizer.add_sentencepiece(std::move(rule));
    parts.space_symbol = true;
    parts.model = std::make_unique<UnigramModel>(texts, std::move(scores), fallback(2), least - 10);
  }

  void wordpiece() {
    bool lower = flag("tokenizer.ggml.normalizer.lowercase", true);
    bool strip_accents = flag("tokenizer.ggml.normalizer.strip_accents", lower);
    parts.normalizer.add_bert(true, true, strip_accents, lower);
    parts.pre_tokenizer.add_split(Regex("\\s+", path), PreTokenizer::Behavior::removed);
    parts.pre_tokenizer.add_split(Regex(punctuation_pattern, path));
    std::vector<bool> begins;
    for (Token& token : parts.tokens) {
      begins.push_back(token.text.starts_with(space_symbol));
      if (begins.back() && token.kind == TokenKind::normal) token.text.erase(0, space_symbol.size());
    }
    wordpiece_model(parts, begins, special("tokenizer.ggml.unknown_token_id", 100), SIZE_MAX);
  }

  // llama.cpp knows by the name that this family's special tokens take in the white space behind them.
  void phi3_tokens() {
    std::string name = json_string(metadata, "general.name", path);
    for (char& c : name) c = char(std::tolower(uint8_t(c)));
    if (name.find("phi-3") == name.npos && name.find("phi3") == name.npos) return;
    for (Token& token : parts.tokens) {
      bool added = token.kind == TokenKind::control || token.kind == TokenKind::added;
      token.right_strip = added && token.text != "<unk>" && token.text != "<s>" && token.text != "<|endoftext|>";
    }
  }
};

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_gguf(const ModelFile& file) {
  const json& metadata = file.metadata;
  std::string model = json_string(metadata, "tokenizer.ggml.model", file.path);
  bool spm = model == "llama", bert = model == "bert", t5 = model == "t5", gemma = model == "gemma4";
  if (model != "gpt2" && !spm && !bert && !t5 && !gemma)
    fail(VKMOE_ERROR_UNSUPPORTED, file.path, ": key 'tokenizer.ggml.model': ",
         model.empty() ? "missing" : "tokenizer '" + model + "' is not supported",
         ", only 'gpt2' and 'gemma4' (BPE), 'llama' and 't5' (SentencePiece) and 'bert' (WordPiece)");
  std::string pre = gemma ? model : json_string(metadata, "tokenizer.ggml.pre", file.path, "default");
  const PreRule& rule = find_pre_rule(spm || bert || t5 ? "default" : pre, file.path);
  GgufTokenizer source{metadata, file.path};
  source.parts.origin = file.path;
  source.tokens();
  source.phi3_tokens();

  int32_t bos = source.special("tokenizer.ggml.bos_token_id", spm ? 1 : bert ? 101 : -1);
  int32_t eos = bert ? source.special("tokenizer.ggml.seperator_token_id", 102)  // as ggml spells it
                     : source.special("tokenizer.ggml.eos_token_id", spm ? 2 : t5 ? 1 : -1);
  std::vector<int32_t> ends;
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    if (int32_t id = source.special(key); id >= 0) ends.push_back(id);
  if (eos >= 0) ends.insert(ends.begin(), eos);
  // Older files give special tokens the type of normal ones.
  std::vector<Token>& tokens = source.parts.tokens;
  for (int32_t id : ends) tokens[size_t(id)].kind = TokenKind::control;
  if (bos >= 0) tokens[size_t(bos)].kind = TokenKind::control;
  std::string bos_text = bos >= 0 ? tokens[size_t(bos)].text : "", eos_text = eos >= 0 ? tokens[size_t(eos)].text : "";
  for (size_t i = 0; i < tokens.size(); i++)
    for (const char* text : end_texts)
      if (tokens[i].kind == TokenKind::control && tokens[i].text == text) ends.push_back(int32_t(i));

  // Where these two end an answer, "<|end|>" ends one message of several (gpt-oss).
  auto has = [&](const char* text) {
    return std::any_of(ends.begin(), ends.end(), [&](int32_t id) { return tokens[size_t(id)].text == text; });
  };
  if (has("<|return|>") && has("<|call|>"))
    std::erase_if(ends, [&](int32_t id) { return tokens[size_t(id)].text == "<|end|>"; });

  if (spm) {
    source.sentencepiece_bpe();
  } else if (t5) {
    source.unigram();
  } else if (bert) {
    source.wordpiece();
  } else {
    source.byte_level_bpe(rule);
  }
  auto tokenizer = std::make_unique<TextTokenizer>(std::move(source.parts));
  tokenizer->bos = bos;
  tokenizer->bos_text = bos_text;
  tokenizer->eos_text = eos_text;
  for (int32_t id : ends) add_end_id(*tokenizer, id);
  tokenizer->add_bos = bos >= 0 && source.flag("tokenizer.ggml.add_bos_token", spm || bert || rule.add_bos);
  tokenizer->chat_template = json_string(metadata, "tokenizer.chat_template", file.path);
  return tokenizer;
}

}  // namespace vkmoe
