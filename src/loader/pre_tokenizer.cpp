#include "loader/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "base/error.h"
#include "loader/utf8.h"

namespace vkmoe {

namespace {

constexpr size_t max_regexes = 32, max_pattern_bytes = 1 << 16;

// Unicode's White_Space. PCRE2's own \s takes U+180E for white space, too.
const char white_space[] =
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
// PCRE2 10.42's own \w lacks marks and connecting punctuation.
const char word_chars[] = "\\p{L}\\p{M}\\p{N}\\p{Pc}";

struct Translator {
  const std::string& pattern;
  const std::string& origin;
  std::string out;
  size_t at = 0;
  bool in_class = false;

  [[noreturn]] void unsupported(const std::string& what) const {
    fail(VKMOE_ERROR_UNSUPPORTED, origin, ": ", what, " at byte ", at, " of the regular expression '", pattern,
         "' is not supported");
  }

  void set(const char* members, bool negated) {
    if (in_class && negated) unsupported("a negated set in brackets");
    out += in_class ? members : cat(negated ? "[^" : "[", members, "]");
  }

  void escape() {
    if (at + 1 >= pattern.size()) unsupported("a backslash at the end");
    char c = pattern[at + 1];
    if (c == 's' || c == 'S') {
      set(white_space, c == 'S');
    } else if (c == 'w' || c == 'W') {
      set(word_chars, c == 'W');
    } else if (c == 'u') {  // four hexadecimal digits, which PCRE2 spells \x{...}
      std::string digits = pattern.substr(at + 2, 4);
      if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        unsupported("\\u without four digits");
      out += "\\x{" + digits + "}";
      at += 4;
    } else if (std::isalnum(static_cast<unsigned char>(c)) && !std::strchr("dDpPrntfvaexAzZ", c)) {
      unsupported(cat("\\", c));
    } else if (c == 'v') {  // one character there, any vertical space here
      out += "\\x0b";
    } else {
      out += '\\';
      out += c;
    }
    at += 2;
  }

  // Of the options only i means the same there.
  void check_group() const {
    size_t end = pattern.find_first_not_of("i-", at + 2);
    if (end == std::string::npos || !std::strchr(":)=!<>", pattern[end])) unsupported("a group");
  }

  std::string run() {
    while (at < pattern.size()) {
      char c = pattern[at];
      if (c == '\\') {
        escape();
        continue;
      }
      if (in_class && c == '[') unsupported("a set within a set");
      if (in_class && pattern.compare(at, 2, "&&") == 0) unsupported("an intersection of sets");
      if (!in_class && pattern.compare(at, 2, "(*") == 0) unsupported("a verb");
      if (!in_class && pattern.compare(at, 2, "(?") == 0) check_group();
      if (c == '[' && !in_class) {
        in_class = true;
        out += c;
        at++;
        if (at < pattern.size() && pattern[at] == '^') out += pattern[at++];
        if (at < pattern.size() && pattern[at] == ']') unsupported("']' as the first member of a set");
        continue;
      }
      if (c == ']') in_class = false;
      out += c;
      at++;
    }
    return out;
  }
};

}  // namespace

struct PreTokenizer::Regex {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  std::string shown, origin;

  ~Regex() {
    pcre2_code_free(code);
    pcre2_match_context_free(context);
  }

  // Appends the pieces of one valid UTF-8 text.
  void split(std::string_view text, pcre2_match_data* data, std::vector<std::string_view>& pieces) const {
    auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    size_t piece = 0, at = 0;
    while (at < text.size()) {
      int count = pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, data, context);
      if (count == PCRE2_ERROR_JIT_STACKLIMIT)
        count = pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, context);
      if (count == PCRE2_ERROR_NOMATCH) break;
      if (count < 0) {
        char message[128] = "";
        pcre2_get_error_message(count, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
        fail(VKMOE_ERROR_UNSUPPORTED, origin, ": the regular expression '", shown, "' is too costly on this text: ",
             message);
      }
      const size_t* range = pcre2_get_ovector_pointer(data);
      size_t begin = range[0], end = range[1];
      if (begin >= end) {  // an empty match cuts nothing (with \K, begin may even lie behind end)
        int length = begin < text.size() ? utf8_char(text.substr(begin)) : 1;
        at = std::max(at, begin) + size_t(length > 0 ? length : 1);
        while (at < text.size() && (uint8_t(text[at]) & 0xc0) == 0x80) at++;
        continue;
      }
      if (begin > piece) pieces.push_back(text.substr(piece, begin - piece));
      pieces.push_back(text.substr(begin, end - begin));
      piece = at = end;
    }
    if (piece < text.size()) pieces.push_back(text.substr(piece));
  }
};

PreTokenizer::PreTokenizer() = default;
PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;

void PreTokenizer::compile(const std::string& pattern, const std::string& shown, const std::string& origin) {
  if (regexes_.size() >= max_regexes)
    fail(VKMOE_ERROR_UNSUPPORTED, origin, ": more than ", max_regexes, " regular expressions");
  auto regex = std::make_unique<Regex>();
  regex->shown = shown;
  regex->origin = origin;
  int error = 0;
  size_t error_at = 0;
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> options(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (!options) fail(VKMOE_ERROR_OUT_OF_MEMORY, origin, ": no memory for a regular expression");
  pcre2_set_newline(options.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(options.get(), 100);
  regex->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &error_at,
                              options.get());
  if (!regex->code) {
    char message[128] = "";
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
    fail(VKMOE_ERROR_UNSUPPORTED, origin, ": the regular expression '", shown, "': ", message);
  }
  pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);  // without it matching is slower, and the same
  regex->context = pcre2_match_context_create(nullptr);
  if (!regex->context) fail(VKMOE_ERROR_OUT_OF_MEMORY, origin, ": no memory for a regular expression");
  pcre2_set_match_limit(regex->context, 50'000'000);  // bounds what one match may cost
  pcre2_set_heap_limit(regex->context, 1 << 18);      // in KiB
  regexes_.push_back(std::move(regex));
}

void PreTokenizer::add_regex(const std::string& pattern, const std::string& origin) {
  if (pattern.size() > max_pattern_bytes)
    fail(VKMOE_ERROR_UNSUPPORTED, origin, ": a regular expression of ", pattern.size(), " bytes");
  // The same matches, but not quadratic in the length of a run of white space that does not end the text.
  const std::string& source = pattern == "\\s+$" ? std::string("(?<!\\s)\\s+$") : pattern;
  compile(Translator{source, origin, {}}.run(), pattern, origin);
}

void PreTokenizer::add_literal(const std::string& text, const std::string& origin) {
  std::string escaped;
  for (char c : text) {
    if (std::ispunct(static_cast<unsigned char>(c))) escaped += '\\';
    escaped += c;
  }
  compile(escaped, text, origin);
}

void PreTokenizer::split(std::string_view text, std::vector<std::string_view>& pieces) const {
  std::vector<std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>> data;
  for (const auto& regex : regexes_) {
    data.emplace_back(pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
    if (!data.back()) fail(VKMOE_ERROR_OUT_OF_MEMORY, regex->origin, ": no memory for a match");
  }
  std::vector<std::string_view> from, to;
  while (!text.empty()) {
    size_t valid = utf8_valid_bytes(text);
    if (valid) {
      to.assign(1, text.substr(0, valid));
      for (size_t i = 0; i < regexes_.size(); i++) {
        from.swap(to);
        to.clear();
        for (std::string_view piece : from) regexes_[i]->split(piece, data[i].get(), to);
      }
      pieces.insert(pieces.end(), to.begin(), to.end());
      text.remove_prefix(valid);
    }
    size_t invalid = 0;
    while (invalid < text.size() && utf8_char(text.substr(invalid)) <= 0) invalid++;
    if (invalid) pieces.push_back(text.substr(0, invalid));
    text.remove_prefix(invalid);
  }
}

}  // namespace vkmoe
