#include "loader/jinja/lexer.h"

#include <algorithm>
#include <cctype>

#include "loader/jinja/text.h"

namespace vkmoe::jinja {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) { return std::isalpha(uint8_t(c)) || c == '_' || uint8_t(c) >= 0x80; }

// "\r\n" and "\r" become "\n", and the last one goes.
std::string normalize_newlines(const std::string& source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(Context& cx, const std::string& source) : cx_(cx), source_(normalize_newlines(source)) {}

  std::vector<Token> run() {
    cx_.line = 1;
    while (pos_ < source_.size()) {
      size_t tag = find_tag();
      if (tag == std::string::npos) {
        add_data(source_.substr(pos_));
        pos_ = source_.size();
        break;
      }
      char kind = source_[tag + 1];
      size_t after = tag + 2;
      char sign = after < source_.size() && (source_[after] == '-' || source_[after] == '+') ? source_[after++] : 0;
      add_text_before(tag, kind, sign);
      move_to(after);
      if (kind == '#') {
        skip_comment();
      } else if (kind == '%') {
        if (!raw_block()) tag_tokens(TokenType::block_begin, TokenType::block_end, "%}");
      } else {
        tag_tokens(TokenType::variable_begin, TokenType::variable_end, "}}");
      }
    }
    add(TokenType::end, "");
    return std::move(tokens_);
  }

 private:
  void add(TokenType type, std::string text) {
    cx_.spend(1);
    tokens_.push_back({type, std::move(text), cx_.line});
  }
  void add_data(std::string text) {
    if (!text.empty()) add(TokenType::data, std::move(text));
  }
  void move_to(size_t pos) {
    cx_.line += int(std::count(source_.begin() + std::ptrdiff_t(pos_), source_.begin() + std::ptrdiff_t(pos), '\n'));
    pos_ = pos;
  }
  bool at(const char* text) const { return source_.compare(pos_, std::char_traits<char>::length(text), text) == 0; }

  size_t find_tag() const {
    for (size_t i = pos_; (i = source_.find('{', i)) != std::string::npos; ++i) {
      char next = i + 1 < source_.size() ? source_[i + 1] : 0;
      if (next == '%' || next == '#' || next == '{') return i;
    }
    return std::string::npos;
  }

  // "-" takes all whitespace before a tag; without a sign a block or comment takes what indents its line.
  void add_text_before(size_t tag, char kind, char sign) {
    std::string_view text(source_.data() + pos_, tag - pos_);
    if (sign == '-') {
      text = strip(text, nullptr, false, true);
    } else if (sign != '+' && kind != '{') {
      size_t newline = text.rfind('\n');
      bool line_starts = newline != std::string_view::npos || pos_ == 0 || source_[pos_ - 1] == '\n';
      size_t indent = newline == std::string_view::npos ? 0 : newline + 1;
      if (line_starts && strip(text.substr(indent), nullptr, true, false).empty()) text = text.substr(0, indent);
    }
    add_data(std::string(text));
  }

  size_t skip_space(size_t pos) const {
    for (size_t bytes; pos < source_.size() && is_space(decode_char(source_, pos, &bytes));) pos += bytes;
    return pos;
  }

  // After "-%}" all whitespace goes, after "%}" or "#}" one newline, after "+%}" nothing.
  void end_tag(size_t after, char sign, bool trim) {
    if (sign == '-') after = skip_space(after);
    if (!sign && trim && after < source_.size() && source_[after] == '\n') ++after;
    move_to(after);
  }

  void skip_comment() {
    size_t end = source_.find("#}", pos_);
    if (end == std::string::npos) cx_.unsupported("the comment has no end");
    char before = end > pos_ ? source_[end - 1] : 0;
    end_tag(end + 2, before == '-' || before == '+' ? before : 0, true);
  }

  // The position after "{%", sign and word; npos if something else stands there.
  size_t match_word(size_t pos, const char* word) const {
    pos = skip_space(pos);
    size_t n = std::char_traits<char>::length(word);
    return source_.compare(pos, n, word) == 0 ? skip_space(pos + n) : std::string::npos;
  }

  bool raw_block() {
    size_t pos = match_word(pos_, "raw");
    if (pos == std::string::npos) return false;
    if (source_.compare(pos, 3, "-%}") == 0) {
      move_to(skip_space(pos + 3));
    } else if (source_.compare(pos, 2, "%}") == 0) {
      move_to(pos + 2);
    } else {
      return false;
    }
    for (size_t tag = pos_; (tag = source_.find("{%", tag)) != std::string::npos; ++tag) {
      size_t after = tag + 2;
      char sign = after < source_.size() && (source_[after] == '-' || source_[after] == '+') ? source_[after++] : 0;
      size_t end = match_word(after, "endraw");
      if (end == std::string::npos) continue;
      char end_sign = end < source_.size() && (source_[end] == '-' || source_[end] == '+') ? source_[end++] : 0;
      if (source_.compare(end, 2, "%}") != 0) continue;
      add_text_before(tag, '%', sign);
      end_tag(end + 2, end_sign, true);
      return true;
    }
    cx_.unsupported("the raw block has no end");
  }

  void tag_tokens(TokenType begin, TokenType end, const char* end_text) {
    add(begin, "");
    bool block = end == TokenType::block_end;
    std::string open;  // brackets that are not closed yet
    for (;;) {
      move_to(skip_space(pos_));
      if (pos_ >= source_.size()) cx_.unsupported("unexpected end of the template");
      if (open.empty()) {
        char sign = source_[pos_] == '-' || (block && source_[pos_] == '+') ? source_[pos_] : 0;
        size_t after = pos_ + (sign ? 1 : 0);
        if (source_.compare(after, 2, end_text) == 0) {
          add(end, "");
          end_tag(after + 2, sign, block);
          return;
        }
      }
      char c = source_[pos_];
      if (is_digit(c)) {
        number();
      } else if (is_name_start(c)) {
        size_t last = pos_;
        while (last < source_.size() && (is_name_start(source_[last]) || is_digit(source_[last]))) ++last;
        add(TokenType::name, source_.substr(pos_, last - pos_));
        pos_ = last;
      } else if (c == '\'' || c == '"') {
        string_literal(c);
      } else {
        op(open);
      }
    }
  }

  size_t digits(size_t pos) const {
    while (pos < source_.size() && (is_digit(source_[pos]) || (source_[pos] == '_' && pos + 1 < source_.size() &&
                                                               is_digit(source_[pos + 1])))) {
      ++pos;
    }
    return pos;
  }

  void number() {
    auto char_at = [&](size_t pos) { return pos < source_.size() ? source_[pos] : '\0'; };
    size_t end = digits(pos_);
    TokenType type = TokenType::integer;
    if (source_[pos_] == '0' && std::isalpha(uint8_t(char_at(pos_ + 1))) && char_at(pos_ + 1) != 'e') {
      cx_.unsupported("a number that is not decimal");
    }
    if (pos_ == 0 || source_[pos_ - 1] != '.') {
      if (char_at(end) == '.' && is_digit(char_at(end + 1))) {
        end = digits(end + 1);
        type = TokenType::floating;
      }
      if (char_at(end) == 'e' || char_at(end) == 'E') {
        size_t exponent = end + 1 + (char_at(end + 1) == '+' || char_at(end + 1) == '-');
        if (is_digit(char_at(exponent))) {
          end = digits(exponent);
          type = TokenType::floating;
        }
      }
    }
    std::string text = source_.substr(pos_, end - pos_);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    if (type == TokenType::integer && text[0] == '0' && text.find_first_not_of('0') != std::string::npos) {
      cx_.unsupported("a number with leading zeros");
    }
    add(type, text);
    pos_ = end;
  }

  void string_literal(char quote) {
    size_t end = pos_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) cx_.unsupported("the string has no end");
    add(TokenType::string, unescape(source_.substr(pos_ + 1, end - pos_ - 1)));
    move_to(end + 1);
  }

  std::string unescape(const std::string& text) const {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        out += text[i];
        continue;
      }
      char c = text[++i];  // the literal's end shows that there is one
      constexpr std::string_view letters = "abfnrtv\\'\"", values = "\a\b\f\n\r\t\v\\'\"";
      size_t simple = letters.find(c);
      if (simple != std::string_view::npos) {
        out += values[simple];
      } else if (c == 'x' || c == 'u' || c == 'U') {
        i = unescape_code(text, i + 1, c == 'x' ? 2 : c == 'u' ? 4 : 8, 16, &out) - 1;
      } else if (c >= '0' && c <= '7') {
        size_t count = 1;
        while (count < 3 && i + count < text.size() && text[i + count] >= '0' && text[i + count] <= '7') ++count;
        i = unescape_code(text, i, count, 8, &out) - 1;
      } else if (c == 'N') {
        cx_.unsupported("a character by name");
      } else if (c != '\n') {
        out += {'\\', c};
      }
    }
    return out;
  }

  size_t unescape_code(const std::string& text, size_t pos, size_t count, int base, std::string* out) const {
    char32_t code = 0;
    for (size_t i = 0; i < count; ++i) {
      int c = pos + i < text.size() ? std::tolower(uint8_t(text[pos + i])) : 0;
      int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
      if (digit >= base) cx_.unsupported("an escape needs ", count, " digits");
      code = code * char32_t(base) + char32_t(digit);
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) cx_.unsupported("an escape names no character");
    append_char(*out, code);
    return pos + count;
  }

  void op(std::string& open) {
    constexpr const char* ops[] = {"**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                   "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const char* text : ops) {
      if (!at(text)) continue;
      char c = text[0];
      if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
      if (c == ')' || c == ']' || c == '}') {
        if (open.empty() || open.back() != c) cx_.unsupported("unexpected '", c, "'");
        open.pop_back();
      }
      add(TokenType::op, text);
      pos_ += std::char_traits<char>::length(text);
      return;
    }
    cx_.unsupported("unexpected character '", source_[pos_], "'");
  }

  Context& cx_;
  std::string source_;
  size_t pos_ = 0;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(Context& cx, const std::string& source) { return Lexer(cx, source).run(); }

}  // namespace vkmoe::jinja
