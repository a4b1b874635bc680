// What a model folder says about its tokenizer apart from tokenizer.json or tokenizer.model: tokenizer_config.json,
// generation_config.json, config.json. Used by the readers of folders' tokenizers.
#include "base/error.h"
#include "loader/json_file.h"
#include "loader/tokenizer_parts.h"

namespace vkmoe {

using nlohmann::json;

// A special token in tokenizer_config.json: a string, or an object with "content".
static std::string special_text(const json& config, const char* key, const std::string& name) {
  const json* value = json_member(config, key);
  if (value && value->is_object()) return json_string(*value, "content", name);
  return json_string(config, key, name);
}

static std::string chat_template_of(const json& config, const std::string& name) {
  const json* value = json_member(config, "chat_template");
  if (!value || !value->is_array()) return json_string(config, "chat_template", name);
  for (const json& entry : *value)
    if (json_string(entry, "name", name) == "default") return json_string(entry, "template", name);
  return "";
}

int32_t find_token(const std::vector<Token>& tokens, const std::string& text) {
  for (size_t id = 0; !text.empty() && id < tokens.size(); id++)
    if (tokens[id].kind != TokenKind::missing && tokens[id].text == text) return int32_t(id);
  return -1;
}

void read_added_tokens(const json& config, const std::string& origin, std::vector<Token>& tokens) {
  const json* added = json_member(config, "added_tokens_decoder");
  if (!added) return;
  size_t limit = 4 * tokens.size() + 65536;
  for (const auto& [key, entry] : added->items()) {
    size_t id = limit;
    if (!key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == key.npos) id = std::stoul(key);
    std::string text = json_string(entry, "content", origin);
    if (id >= limit || text.empty())
      fail(VKMOE_ERROR_BAD_FILE, origin, ": added_tokens_decoder: expected an id below ", limit,
           " and a content, found '", key, "' and ", json_excerpt(entry));
    if (id >= tokens.size()) tokens.resize(id + 1);
    Token& token = tokens[id];
    if (token.kind == TokenKind::normal) continue;  // in the vocabulary already
    token.text = text;
    token.kind = json_bool(entry, "special", origin, false) ? TokenKind::control : TokenKind::added;
    token.left_strip = json_bool(entry, "lstrip", origin, false);
    token.right_strip = json_bool(entry, "rstrip", origin, false);
    token.single_word = json_bool(entry, "single_word", origin, false);
  }
}

FolderConfig read_folder_config(const ModelFile& file, const std::vector<Token>& tokens, const std::string& bos_text,
                                bool adds_bos) {
  std::string name = file.path + "/tokenizer_config.json";
  FolderConfig config;
  config.bos_text = special_text(file.tokenizer_config, "bos_token", name);
  if (config.bos_text.empty()) config.bos_text = bos_text;
  config.eos_text = special_text(file.tokenizer_config, "eos_token", name);
  config.bos = find_token(tokens, config.bos_text);
  config.eos = find_token(tokens, config.eos_text);
  bool adds = adds_bos && config.bos_text == bos_text;
  config.add_bos = config.bos >= 0 && json_bool(file.tokenizer_config, "add_bos_token", name, adds);
  return config;
}

void finish_tokenizer(Tokenizer& tokenizer, const ModelFile& file, const FolderConfig& config) {
  tokenizer.bos = config.bos;
  tokenizer.add_bos = config.add_bos;
  tokenizer.bos_text = config.bos_text;
  tokenizer.eos_text = config.eos_text;
  if (config.eos >= 0) add_end_id(tokenizer, config.eos);
  for (int32_t id : json_ids(file.generation_config, "eos_token_id", file.path + "/generation_config.json"))
    add_end_id(tokenizer, id);
  for (int32_t id : json_ids(file.metadata, "eos_token_id", file.path + "/config.json")) add_end_id(tokenizer, id);
  if (tokenizer.eos_text.empty() && !tokenizer.end_ids.empty())
    tokenizer.eos_text = tokenizer.token_bytes(tokenizer.end_ids[0], true);
  tokenizer.chat_template = chat_template_of(file.tokenizer_config, file.path + "/tokenizer_config.json");
}

}  // namespace vkmoe
