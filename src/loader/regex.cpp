#include "loader/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cctype>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace vkmoe {

namespace {

constexpr size_t max_pattern_bytes = 1 << 16;

// Unicode's White_Space. PCRE2's own \s takes U+180E for white space, too.
const char white_space[] =
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
// Oniguruma's \w, and what its \b goes by: letters, marks, digits, numbers and symbols like letters, and six of Latin-1.
#define WORD_CHARS                                                                                      \
  "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}" \
  "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"

// Oniguruma's spelling to PCRE2's.
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
      set(WORD_CHARS, c == 'W');
    } else if (c == 'b' && !in_class) {
      out += "(?:(?<=[" WORD_CHARS "])(?![" WORD_CHARS "])|(?<![" WORD_CHARS "])(?=[" WORD_CHARS "]))";
    } else if (c == 'u') {  // four hexadecimal digits, which PCRE2 spells \x{...}
      std::string digits = pattern.substr(at + 2, 4);
      if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        unsupported("\\u without four digits");
      out += "\\x{" + digits + "}";
      at += 4;
    } else if (std::isalnum(static_cast<unsigned char>(c)) && !std::strchr("dDpPrntfvaexAzZ", c)) {
      unsupported(cat("\\", c));
    } else if ((c == 'p' || c == 'P') && pattern.compare(at + 2, 1, "{") == 0) {
      property();
    } else if (c == 'v') {  // one character there, any vertical space here
      out += "\\x0b";
    } else {
      out += '\\';
      out += c;
    }
    at += 2;
  }

  // \p{Han} is a script there; here it would be script extensions, too. Names of scripts have three letters or more.
  void property() {
    size_t end = pattern.find('}', at);
    if (end == std::string::npos) unsupported("\\p without an end");
    std::string name = pattern.substr(at + 3, end - at - 3), sign = pattern.substr(at, 3);
    if (name[0] == '^') name.erase(0, 1), sign += '^';
    static const char* const others[] = {"Any", "Alphabetic", "Lowercase", "Uppercase", "White_Space", "Ideographic",
                                         "Emoji", "Extended_Pictographic"};
    bool script = name.size() > 2;
    for (const char* other : others) script = script && name != other;
    out += sign + (script ? "sc:" : "") + name + "}";
    at = end - 1;  // two more are added
  }

  // Of the options only i means the same there.
  void check_group() const {
    size_t end = pattern.find_first_not_of("i-", at + 2);
    if (end == std::string::npos || !std::strchr(":)=!<>", pattern[end])) unsupported("a group");
  }

  // The members of a set up to its ']' or an '&&', as PCRE2 spells them, with its '^'.
  std::string members() {
    std::string outside;
    outside.swap(out);
    in_class = true;
    if (at < pattern.size() && pattern[at] == '^') out += pattern[at++];
    if (at < pattern.size() && pattern[at] == ']') unsupported("']' as the first member of a set");
    while (at < pattern.size() && pattern[at] != ']' && pattern.compare(at, 2, "&&") != 0) {
      if (pattern[at] == '\\') {
        escape();
      } else {
        if (pattern[at] == '[') unsupported("a set within a set");
        out += pattern[at++];
      }
    }
    in_class = false;
    outside.swap(out);
    return outside;
  }

  // [A], or [A&&[B]&&[^C]] as a character of A that looks like one of B and none of C.
  void bracket() {
    at++;
    std::string first = members(), conditions;
    while (pattern.compare(at, 3, "&&[") == 0) {
      at += 3;
      conditions += "(?=[" + members() + "])";
      if (at >= pattern.size() || pattern[at] != ']') unsupported("an intersection of sets");
      at++;
    }
    if (at < pattern.size() && (pattern[at] != ']' || (!conditions.empty() && first[0] == '^')))
      unsupported("an intersection of sets");
    // A set that is not closed is left for PCRE2 to complain about.
    const char* close = at < pattern.size() ? "]" : "";
    at++;
    out += conditions.empty() ? "[" + first + close : "(?:" + conditions + "[" + first + close + ")";
  }

  std::string run() {
    while (at < pattern.size()) {
      if (pattern[at] == '\\') {
        escape();
      } else if (pattern[at] == '[') {
        bracket();
      } else {
        if (pattern.compare(at, 2, "(*") == 0) unsupported("a verb");
        if (pattern.compare(at, 2, "(?") == 0) check_group();
        out += pattern[at++];
      }
    }
    return out;
  }
};

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  std::string shown, origin;

  Code(const std::string& pattern, std::string shown, const std::string& origin) : shown(std::move(shown)), origin(origin) {
    int error = 0;
    size_t error_at = 0;
    std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> options(
        pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
    if (!options) fail(VKMOE_ERROR_OUT_OF_MEMORY, origin, ": no memory for a regular expression");
    pcre2_set_newline(options.get(), PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(options.get(), 100);
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                         PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &error_at,
                         options.get());
    if (!code) {
      char message[128] = "";
      pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
      fail(VKMOE_ERROR_UNSUPPORTED, origin, ": the regular expression '", this->shown, "': ", message);
    }
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it matching is slower, and the same
    context = pcre2_match_context_create(nullptr);
    if (!context) {
      pcre2_code_free(code);
      fail(VKMOE_ERROR_OUT_OF_MEMORY, origin, ": no memory for a regular expression");
    }
    pcre2_set_match_limit(context, 50'000'000);  // bounds what one match may cost
    pcre2_set_heap_limit(context, 1 << 18);      // in KiB
  }
  Code(const Code&) = delete;
  ~Code() {
    pcre2_code_free(code);
    pcre2_match_context_free(context);
  }
};

Regex::Regex(const std::string& pattern, const std::string& origin) {
  if (pattern.size() > max_pattern_bytes)
    fail(VKMOE_ERROR_UNSUPPORTED, origin, ": a regular expression of ", pattern.size(), " bytes");
  // The same matches, but not quadratic in the length of a run of white space that does not end the text.
  const std::string& source = pattern == "\\s+$" ? std::string("(?<!\\s)\\s+$") : pattern;
  code_ = std::make_shared<Code>(Translator{source, origin, {}}.run(), pattern, origin);
}

Regex Regex::literal(const std::string& text, const std::string& origin) {
  std::string escaped;
  for (char c : text) {
    if (std::ispunct(static_cast<unsigned char>(c))) escaped += '\\';
    escaped += c;
  }
  return Regex(std::make_shared<Code>(escaped, text, origin));
}

bool Regex::find(std::string_view text, size_t at, size_t* begin, size_t* end) const {
  thread_local std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  if (!data) fail(VKMOE_ERROR_OUT_OF_MEMORY, code_->origin, ": no memory for a match");
  auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  auto match = [&](uint32_t options) {
    return pcre2_match(code_->code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | options, data.get(), code_->context);
  };
  int count = match(0);
  if (count == PCRE2_ERROR_JIT_STACKLIMIT) count = match(PCRE2_NO_JIT);
  if (count == PCRE2_ERROR_NOMATCH) return false;
  if (count < 0) {
    char message[128] = "";
    pcre2_get_error_message(count, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
    fail(VKMOE_ERROR_UNSUPPORTED, code_->origin, ": the regular expression '", code_->shown,
         "' is too costly on this text: ", message);
  }
  const size_t* range = pcre2_get_ovector_pointer(data.get());
  *begin = range[0];
  *end = range[1];
  return true;
}

}  // namespace vkmoe
