// tiktoken.model (Kimi-K2, Moonlight) and hy.tiktoken (Hunyuan): lines of a token in base64 and its rank. Neighbours
// whose joint text has the lowest rank are merged first, as OpenAI's tiktoken does. Called by Tokenizer::load().
#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "loader/gguf_writer.h"
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

// What stands in the model's own Python code, which is known by the name of its class.
struct Kind {
  const char *tokenizer_class, *file, *pre;
  bool composed;  // text is brought to NFC
  std::vector<std::string> (*specials)(size_t first);
};

std::vector<std::string> numbered(const char* name, size_t first, size_t count) {
  std::vector<std::string> texts;
  for (size_t i = first; i < first + count; i++) texts.push_back(cat("<|", name, "_", i, "|>"));
  return texts;
}

const Kind kinds[] = {
    {"TikTokenTokenizer", "tiktoken.model", "kimi-k2", false,
     [](size_t first) { return numbered("reserved_token", first, 256); }},
    {"HYTokenizer", "hy.tiktoken", "hunyuan", true,
     [](size_t) {
       std::vector<std::string> texts = {"<|endoftext|>", "<|startoftext|>", "<|bos|>", "<|eos|>", "<|pad|>"};
       for (std::string& extra : numbered("extra", 0, 205)) texts.push_back(std::move(extra));
       return texts;
     }},
};

const Kind& find_kind(const ModelFile& file) {
  const std::string config = file.path + "/tokenizer_config.json";
  std::string found = json_string(file.tokenizer_config, "tokenizer_class", config);
  for (const Kind& kind : kinds)
    if (found == kind.tokenizer_class) return kind;
  fail(VKMOE_ERROR_UNSUPPORTED, config, ": tokenizer_class '", found, "' is not supported with tiktoken's ranks, only ",
       kinds[0].tokenizer_class, " (Kimi-K2, Moonlight) and ", kinds[1].tokenizer_class, " (Hunyuan)");
}

// The two tokens that a token is merged from: what is left of its bytes when all better ranks have been merged. More
// than two parts: nothing leads to it.
std::vector<std::string> last_parts(const std::string& text, const std::unordered_map<std::string, size_t>& ranks,
                                    size_t own) {
  std::vector<std::string> parts;
  for (char c : text) parts.emplace_back(1, c);
  auto rank = [&](size_t left) {
    auto found = ranks.find(parts[left] + parts[left + 1]);
    return found == ranks.end() ? own : std::min(found->second, own);
  };
  std::vector<size_t> joint;  // rank of each part with the next
  for (size_t i = 0; i + 1 < parts.size(); i++) joint.push_back(rank(i));
  while (parts.size() > 2) {
    size_t best = size_t(std::min_element(joint.begin(), joint.end()) - joint.begin());
    if (joint[best] >= own) break;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + ptrdiff_t(best) + 1);
    joint.erase(joint.begin() + ptrdiff_t(best));
    if (best > 0) joint[best - 1] = rank(best - 1);
    if (best < joint.size()) joint[best] = rank(best);
  }
  return parts;
}

}  // namespace

void set_tiktoken(const ModelFile& folder, const std::vector<Token>& tokens, uint32_t vocab, GgufHeader& header) {
  std::vector<std::string> texts(vocab);
  std::vector<int32_t> types(vocab, type_unused);
  std::unordered_map<std::string, size_t> ranks;
  for (size_t id = 0; id < tokens.size(); id++) {
    const Token& token = tokens[id];
    bool normal = token.kind == TokenKind::normal;
    if (token.kind == TokenKind::missing || (id >= vocab && !normal)) continue;
    if (id >= vocab)
      fail(VKMOE_ERROR_BAD_FILE, folder.path, "/", find_kind(folder).file, ": expected ranks below the model's ", vocab,
           " tokens, found ", id);
    texts[id] = normal ? to_byte_level(token.text) : token.text;
    types[id] = normal ? type_normal : token.kind == TokenKind::control ? type_control : type_user_defined;
    if (normal) ranks[token.text] = id;
  }
  nlohmann::json merges = nlohmann::json::array();
  for (size_t id = 0; id < vocab; id++) {
    if (types[id] == type_unused) texts[id] = cat("[PAD", id, "]");
    if (types[id] != type_normal || tokens[id].text.size() < 2) continue;
    std::vector<std::string> parts = last_parts(tokens[id].text, ranks, id);
    if (parts.size() == 2) merges.push_back(to_byte_level(parts[0]) + " " + to_byte_level(parts[1]));
  }
  header.set("tokenizer.ggml.model", "gpt2");
  header.set("tokenizer.ggml.pre", find_kind(folder).pre);
  header.set("tokenizer.ggml.tokens", texts);
  header.set("tokenizer.ggml.token_type", types);
  header.set("tokenizer.ggml.merges", merges);
}

std::unique_ptr<Tokenizer> tokenizer_from_tiktoken(const ModelFile& file) {
  const Kind& kind = find_kind(file);
  const std::string origin = cat(file.path, "/", kind.file), config_name = file.path + "/tokenizer_config.json";
  TokenizerParts parts;
  parts.origin = origin;
  read_ranks(file.tiktoken, origin, parts.tokens);
  for (std::string& text : kind.specials(parts.tokens.size()))
    parts.tokens.push_back({std::move(text), TokenKind::control});
  read_added_tokens(file.tokenizer_config, config_name, parts.tokens);
  FolderConfig config = read_folder_config(file, parts.tokens, "", false);
  if (kind.composed) parts.normalizer.add_form(NormalForm::nfc);
  for (const char* pattern : find_pre_rule(kind.pre, origin).patterns)
    parts.pre_tokenizer.add_split(Regex(pattern, origin));
  BpeParts bpe;
  bpe.origin = origin;
  bpe.bytes = bpe.by_score = bpe.ignore_merges = true;
  parts.model = std::make_unique<BpeModel>(parts.tokens, std::move(bpe));
  auto tokenizer = std::make_unique<TextTokenizer>(std::move(parts));
  finish_tokenizer(*tokenizer, file, config);
  return tokenizer;
}

}  // namespace vkmoe
