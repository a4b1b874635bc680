// A GGUF's tokenizer.ggml.* keys: byte-level BPE ("gpt2"). Called by Tokenizer::load().
#include <cstring>

#include "base/error.h"
#include "loader/bpe.h"
#include "loader/json_file.h"
#include "loader/tokenizer_parts.h"

namespace vkmoe {

using nlohmann::json;

namespace {

// What a name in tokenizer.ggml.pre stands for. The patterns are those of the models' own tokenizers; the names and
// the defaults are llama.cpp's.
struct PreRule {
  std::vector<const char*> names;
  std::vector<const char*> patterns;
  bool ignore_merges = false, add_bos = false;
};

const char llama3[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
                      R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
const char qwen2[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
                     R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
const char gpt4o[] =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char deepseek_letters[] =
    R"(\s?[A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293}\x{295}-)"
    R"(\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-)"
    R"(\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-)"
    R"(\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77})"
    R"(\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-)"
    R"(\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-)"
    R"(\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4})"
    R"(\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128})"
    R"(\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184})"
    R"(\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-)"
    R"(\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06})"
    R"(\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-)"
    R"(\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+)";
const char deepseek_punctuation[] =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";
const char deepseek_cjk[] = R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";
const char deepseek3_cjk[] = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
const char deepseek3_words[] =
    R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)re"
    R"re( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

const std::vector<PreRule>& pre_rules() {
  static const std::vector<PreRule> rules = {
      {{"default"}, {R"([\p{P}\$\+<=>\^~\|]+)", gpt2_pattern, R"(\p{N}+)", R"([0-9][0-9][0-9])"}},
      {{"gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion", "granite-docling", "jina-es", "jina-de", "jina-v2-es",
        "jina-v2-de", "gigachat", "a.x-4.0", "mellum", "modern-bert"},
       {gpt2_pattern}},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"},
       {llama3}, true, true},
      {{"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, {llama3}},
      {{"qwen2", "stablelm2", "deepseek-r1-qwen", "hunyuan", "solar-open"}, {qwen2}},
      {{"gpt-4o", "llama4"}, {gpt4o}},
      {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
       {R"(\p{N})", gpt2_pattern}},
      {{"deepseek-llm"},
       {R"([\r\n])", deepseek_letters, deepseek_punctuation, R"(\s+$)", deepseek_cjk, R"(\p{N}+)"}},
      {{"deepseek-coder"}, {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", deepseek_cjk, R"(\p{N})"}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm"}, {R"(\p{N}{1,3})", deepseek3_cjk, deepseek3_words}},
  };
  return rules;
}

const PreRule& find_rule(const std::string& name, const std::string& path) {
  for (const PreRule& rule : pre_rules())
    for (const char* known : rule.names)
      if (name == known) return rule;
  fail(VKMOE_ERROR_UNSUPPORTED, path, ": key 'tokenizer.ggml.pre': pre-tokenizer '", name, "' is not supported");
}

// Tokens that end a turn, for files that name only the end of the text.
const char* const end_texts[] = {"<|im_end|>",      "<|eot_id|>",  "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>",
                                 "<end_of_turn>",   "<|end|>",     "<|eot|>",    "<|return|>",    "<|endofturn|>"};

// ggml's token types.
enum { type_normal = 1, type_unknown, type_control, type_user_defined, type_unused, type_byte };

TokenKind kind_of(const json& type, const std::string& path) {
  if (type.is_number_integer()) {
    int64_t value = type.get<int64_t>();
    if (value == type_control || value == type_unknown) return TokenKind::control;
    if (value == type_user_defined) return TokenKind::added;
    if (value == type_normal || value == type_unused || value == type_byte) return TokenKind::normal;
  }
  fail(VKMOE_ERROR_BAD_FILE, path, ": key 'tokenizer.ggml.token_type': expected values from 1 to 6, found ",
       json_excerpt(type));
}

struct GgufTokenizer {
  const json& metadata;
  const std::string& path;
  BpeParts parts;

  const json& strings(const char* key) const {
    const json* value = json_member(metadata, key);
    if (!value || !value->is_array())
      fail(VKMOE_ERROR_BAD_FILE, path, ": key '", key, "': expected an array of strings, found ",
           value ? json_excerpt(*value) : "none");
    if (!value->empty() && !(*value)[0].is_string())  // a GGUF's arrays have values of one type
      fail(VKMOE_ERROR_BAD_FILE, path, ": key '", key, "': expected an array of strings, found numbers");
    return *value;
  }

  void tokens() {
    const json& texts = strings("tokenizer.ggml.tokens");
    if (texts.empty()) fail(VKMOE_ERROR_BAD_FILE, path, ": key 'tokenizer.ggml.tokens' is empty");
    const json* types = json_member(metadata, "tokenizer.ggml.token_type");
    if (types && (!types->is_array() || types->size() != texts.size()))
      fail(VKMOE_ERROR_BAD_FILE, path, ": key 'tokenizer.ggml.token_type': expected an array of ", texts.size(),
           ", found ", json_excerpt(*types));
    parts.tokens.resize(texts.size());
    for (size_t i = 0; i < texts.size(); i++) {
      parts.tokens[i].text = texts[i].get_ref<const std::string&>();
      parts.tokens[i].kind = types ? kind_of((*types)[i], path) : TokenKind::normal;
    }
  }

  void merges() {
    for (const json& merge : strings("tokenizer.ggml.merges")) {
      std::string_view text = merge.get_ref<const std::string&>();
      size_t space = text.find(' ', 1);
      if (space == text.npos)
        fail(VKMOE_ERROR_BAD_FILE, path, ": key 'tokenizer.ggml.merges': expected two texts and a space, found '",
             text, "'");
      parts.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    }
  }

  // The id of a tokenizer.ggml.*_token_id, or -1.
  int32_t special(const char* key) const {
    std::vector<int32_t> ids = json_ids(metadata, key, path);
    if (ids.empty()) return -1;
    if (ids.size() > 1 || size_t(ids[0]) >= parts.tokens.size())
      fail(VKMOE_ERROR_BAD_FILE, path, ": key '", key, "': expected an id below ", parts.tokens.size(), ", found ",
           json_excerpt(metadata[key]));
    return ids[0];
  }
};

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_gguf(const ModelFile& file) {
  const json& metadata = file.metadata;
  std::string model = json_string(metadata, "tokenizer.ggml.model", file.path);
  if (model != "gpt2")
    fail(VKMOE_ERROR_UNSUPPORTED, file.path, ": key 'tokenizer.ggml.model': ",
         model.empty() ? "missing" : "tokenizer '" + model + "' is not supported", ", only 'gpt2' (byte-level BPE)");
  const PreRule& rule = find_rule(json_string(metadata, "tokenizer.ggml.pre", file.path, "default"), file.path);
  GgufTokenizer source{metadata, file.path, {}};
  source.parts.origin = file.path;
  source.parts.ignore_merges = rule.ignore_merges;
  source.parts.skip_unknown_merges = true;
  for (const char* pattern : rule.patterns) source.parts.pre_tokenizer.add_regex(pattern, file.path);
  source.tokens();
  source.merges();

  int32_t bos = source.special("tokenizer.ggml.bos_token_id"), eos = source.special("tokenizer.ggml.eos_token_id");
  std::vector<int32_t> ends;
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    if (int32_t id = source.special(key); id >= 0) ends.push_back(id);
  // Older files give special tokens the type of normal ones.
  for (int32_t id : ends) source.parts.tokens[size_t(id)].kind = TokenKind::control;
  if (bos >= 0) source.parts.tokens[size_t(bos)].kind = TokenKind::control;
  std::string bos_text = bos >= 0 ? source.parts.tokens[size_t(bos)].text : "";
  std::string eos_text = eos >= 0 ? source.parts.tokens[size_t(eos)].text : "";
  for (size_t i = 0; i < source.parts.tokens.size(); i++)
    for (const char* text : end_texts)
      if (source.parts.tokens[i].kind == TokenKind::control && source.parts.tokens[i].text == text)
        ends.push_back(int32_t(i));

  auto tokenizer = std::make_unique<BpeTokenizer>(std::move(source.parts));
  tokenizer->bos = bos;
  tokenizer->bos_text = bos_text;
  tokenizer->eos_text = eos_text;
  for (int32_t id : ends) add_end_id(*tokenizer, id);
  tokenizer->add_bos = bos >= 0 && json_bool(metadata, "tokenizer.ggml.add_bos_token", file.path, rule.add_bos);
  tokenizer->chat_template = json_string(metadata, "tokenizer.chat_template", file.path);
  return tokenizer;
}

}  // namespace vkmoe
