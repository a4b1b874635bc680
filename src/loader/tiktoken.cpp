// tiktoken.model (Kimi-K2, Moonlight): lines of a token in base64 and its rank. Neighbours whose joint text has the
// lowest rank are merged first, as OpenAI's tiktoken does. Called by Tokenizer::load().
#include <algorithm>

#include "base/error.h"
#include "loader/json_file.h"
#include "loader/tokenizer_parts.h"

namespace vkmoe {

namespace {

// Empty where the text is no base64.
std::string from_base64(std::string_view text) {
  static const std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  size_t padding = text.size() - std::min(text.size(), text.find_last_not_of('=') + 1);
  if (text.size() % 4 || padding > 2) return bytes;
  uint32_t bits = 0, count = 0;
  for (char c : text.substr(0, text.size() - padding)) {
    size_t digit = digits.find(c);
    if (digit == digits.npos) return "";
    bits = bits << 6 | uint32_t(digit);
    if ((count += 6) >= 8) bytes += char(bits >> (count -= 8));
  }
  return bytes;
}

void read_ranks(std::string_view text, const std::string& origin, std::vector<Token>& tokens) {
  size_t limit = size_t(std::count(text.begin(), text.end(), '\n')) + 1;
  for (size_t line = 1; !text.empty(); line++) {
    std::string_view entry = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), entry.size() + 1));
    if (entry.empty()) continue;
    size_t space = std::min(entry.find(' '), entry.size());
    std::string token = from_base64(entry.substr(0, space)), rank(entry.substr(std::min(space + 1, entry.size())));
    bool number = !rank.empty() && rank.size() < 10 && rank.find_first_not_of("0123456789") == rank.npos;
    size_t id = number ? std::stoul(rank) : limit;
    if (token.empty() || id >= limit)
      fail(VKMOE_ERROR_BAD_FILE, origin, ": line ", line, ": expected a token in base64 and a rank below ", limit,
           ", found ", json_excerpt(std::string(entry)));
    if (id >= tokens.size()) tokens.resize(id + 1);
    if (tokens[id].kind == TokenKind::normal)
      fail(VKMOE_ERROR_BAD_FILE, origin, ": line ", line, ": rank ", id, " stands twice");
    tokens[id].text = token;
    tokens[id].kind = TokenKind::normal;
    tokens[id].score = -double(id);
  }
}

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_tiktoken(const ModelFile& file) {
  const std::string origin = file.path + "/tiktoken.model", config_name = file.path + "/tokenizer_config.json";
  // How text is cut stands in the model's own Python code, which is known by its name.
  std::string kind = json_string(file.tokenizer_config, "tokenizer_class", config_name);
  if (kind != "TikTokenTokenizer")
    fail(VKMOE_ERROR_UNSUPPORTED, config_name, ": tokenizer_class '", kind,
         "' is not supported with a tiktoken.model, only TikTokenTokenizer (Kimi-K2, Moonlight)");
  const PreRule& rule = find_pre_rule("kimi-k2", origin);
  TokenizerParts parts;
  parts.origin = origin;
  read_ranks(file.tiktoken, origin, parts.tokens);
  size_t first = parts.tokens.size();
  constexpr size_t n_reserved = 256;
  for (size_t id = first; id < first + n_reserved; id++) {
    Token token{cat("<|reserved_token_", id, "|>"), TokenKind::control};
    parts.tokens.push_back(std::move(token));
  }
  read_added_tokens(file.tokenizer_config, config_name, parts.tokens);
  FolderConfig config = read_folder_config(file, parts.tokens, "", false);
  for (const char* pattern : rule.patterns) parts.pre_tokenizer.add_split(Regex(pattern, origin));
  BpeParts bpe;
  bpe.origin = origin;
  bpe.bytes = bpe.by_score = bpe.ignore_merges = true;
  parts.model = std::make_unique<BpeModel>(parts.tokens, std::move(bpe));
  auto tokenizer = std::make_unique<TextTokenizer>(std::move(parts));
  finish_tokenizer(*tokenizer, file, config);
  return tokenizer;
}

}  // namespace vkmoe
