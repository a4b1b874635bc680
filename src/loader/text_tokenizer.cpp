#include "loader/text_tokenizer.h"

#include "base/error.h"

namespace vkmoe {

constexpr size_t max_added_bytes = 1024;

void decode_byte_level(std::vector<Token>& tokens) {
  std::string bytes;
  for (Token& token : tokens) {
    if (token.kind != TokenKind::normal || token.text.empty()) continue;
    if (from_byte_level(token.text, bytes)) {
      token.text = bytes;
    } else {
      token.kind = TokenKind::missing;
    }
  }
}

// What a token adds to a text.
static std::string shown(const Token& token, bool has_space_symbol) {
  if (token.kind == TokenKind::byte) return std::string(1, char(byte_token_value(token.text)));
  if (!has_space_symbol) return token.text;
  std::string text;
  for (size_t at = 0, next; at < token.text.size(); at = next + space_symbol.size()) {
    next = token.text.find(space_symbol, at);
    text += token.text.substr(at, next - at);
    if (next == std::string::npos) break;
    text += ' ';
  }
  return text;
}

TextTokenizer::TextTokenizer(TokenizerParts&& parts)
    : tokens_(std::move(parts.tokens)),
      normalizer_(std::move(parts.normalizer)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      model_(std::move(parts.model)),
      added_bytes_(tokens_.size()),
      strip_first_space_(parts.strip_first_space) {
  for (size_t id = 0; id < tokens_.size(); id++) {
    Token& token = tokens_[id];
    bool is_added = token.kind == TokenKind::added || token.kind == TokenKind::control;
    if (is_added && !token.text.empty() && parts.find_added) {
      if (token.text.size() > max_added_bytes)
        fail(VKMOE_ERROR_UNSUPPORTED, parts.origin, ": added token ", id, " has ", token.text.size(),
             " bytes; at most ", max_added_bytes, " are supported");
      std::string text = token.normalized ? normalizer_.apply(token.text) : token.text;
      added_bytes_[id] = text.size();
      if (!text.empty()) (token.normalized ? normalized_added_ : raw_added_).add(text, int32_t(id));
    }
    token.text = shown(token, parts.space_symbol);
  }
}

struct TextTokenizer::Call {
  bool parse_special;
  WordCache cache;
  std::vector<int32_t> ids{};
  Arena arena{};
  std::vector<Piece> pieces{};
};

void TextTokenizer::encode_plain(std::string_view text, bool first, Call& call) const {
  call.pieces.clear();
  pre_tokenizer_.split(text, first, call.arena, call.pieces);
  for (const Piece& piece : call.pieces) model_->encode(piece.text, call.cache, call.ids);
}

// false where a letter or digit touches text[begin, end).
static bool stands_alone(std::string_view text, size_t begin, size_t end) {
  uint32_t c = 0;
  if (utf8_char(text.substr(end), &c) > 0 && is_word_char(c)) return false;
  size_t start = begin;
  while (start > 0 && begin - start < 4 && (start == begin || (uint8_t(text[start]) & 0xc0) == 0x80)) start--;
  return begin == 0 || utf8_char(text.substr(start, begin - start), &c) <= 0 || !is_word_char(c);
}

// Calls on_text for the text between added tokens, leftmost first and longest first among those.
template <class OnText>
void TextTokenizer::split_added(const Trie& trie, std::string_view text, bool first, Call& call,
                                const OnText& on_text) const {
  size_t plain = 0;  // start of the text not yet dealt with
  for (size_t at = 0; !trie.empty() && at < text.size();) {
    int32_t id = -1;
    trie.prefixes(text.substr(at), [&](int32_t found, size_t) {
      if (call.parse_special || tokens_[size_t(found)].kind == TokenKind::added) id = found;
    });
    if (id < 0) {
      at++;
      continue;
    }
    const Token& token = tokens_[size_t(id)];
    size_t begin = at, end = at + added_bytes_[size_t(id)];
    if (token.single_word && !stands_alone(text, begin, end)) {
      at = end;
      continue;
    }
    if (token.left_strip) begin -= trailing_space(text.substr(plain, at - plain));
    if (token.right_strip) end += leading_space(text.substr(end));
    if (begin > plain) on_text(text.substr(plain, begin - plain), first && plain == 0);
    call.ids.push_back(id);
    plain = at = end;
  }
  if (plain < text.size()) on_text(text.substr(plain), first && plain == 0);
}

std::vector<int32_t> TextTokenizer::encode(std::string_view text, bool parse_special) const {
  if (text.size() >= UINT32_MAX / 4)
    fail(VKMOE_ERROR_INVALID_ARGUMENT, "expected a text of less than 2^30 bytes, found ", text.size());
  Call call{parse_special, WordCache(text.size())};
  split_added(raw_added_, text, true, call, [&](std::string_view part, bool first) {
    if (!normalizer_.empty()) {
      call.arena.push_back(normalizer_.apply(part));
      part = call.arena.back();
    }
    split_added(normalized_added_, part, first, call,
                [&](std::string_view plain, bool at_start) { encode_plain(plain, at_start, call); });
  });
  return std::move(call.ids);
}

std::string TextTokenizer::token_bytes(int32_t id, bool special) const {
  if (id < 0 || size_t(id) >= tokens_.size()) return "";
  const Token& token = tokens_[size_t(id)];
  return token.kind == TokenKind::control && !special ? "" : token.text;
}

std::string TextTokenizer::decode(const std::vector<int32_t>& ids, bool special) const {
  std::string text = Tokenizer::decode(ids, special);
  // Only a word's own space: an added token in front has none.
  bool strip = strip_first_space_ && !ids.empty() && ids[0] >= 0 && size_t(ids[0]) < tokens_.size() &&
               tokens_[size_t(ids[0])].kind == TokenKind::normal && text.size() && text[0] == ' ';
  if (strip) text.erase(0, 1);
  return text;
}

}  // namespace vkmoe
