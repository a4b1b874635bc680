#include "loader/jinja/text.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <utility>
#include <vector>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"

namespace vkmoe::jinja {

char32_t decode_char(std::string_view text, size_t pos, size_t* bytes) {
  auto at = [&](size_t i) { return pos + i < text.size() ? uint8_t(text[pos + i]) : 0u; };
  uint32_t first = at(0);
  *bytes = 1;
  if (first < 0x80) return first;
  size_t count = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  char32_t c = first & (0xffu >> (count + 1));
  bool valid = first >= 0xc2 && first <= 0xf4;
  for (size_t i = 1; i < count && valid; ++i) {
    valid = (at(i) & 0xc0) == 0x80;
    c = c << 6 | (at(i) & 0x3f);
  }
  constexpr std::array<char32_t, 5> smallest = {0, 0, 0x80, 0x800, 0x10000};
  if (!valid || c < smallest[count] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0xdc00 + first;
  *bytes = count;
  return c;
}

size_t char_bytes(std::string_view text, size_t pos) {
  size_t bytes;
  decode_char(text, pos, &bytes);
  return bytes;
}

void append_char(std::string& text, char32_t c) {
  if (c < 0x80) {
    text += char(c);
  } else if (c < 0x800) {
    text += {char(0xc0 | c >> 6), char(0x80 | (c & 0x3f))};
  } else if (c < 0x10000) {
    text += {char(0xe0 | c >> 12), char(0x80 | (c >> 6 & 0x3f)), char(0x80 | (c & 0x3f))};
  } else {
    text +=
        {char(0xf0 | c >> 18), char(0x80 | (c >> 12 & 0x3f)), char(0x80 | (c >> 6 & 0x3f)), char(0x80 | (c & 0x3f))};
  }
}

size_t count_chars(std::string_view text) {
  size_t count = 0;
  for (size_t pos = 0; pos < text.size(); pos += char_bytes(text, pos)) ++count;
  return count;
}

size_t byte_offset(std::string_view text, size_t chars) {
  size_t pos = 0;
  for (; chars > 0 && pos < text.size(); --chars) pos += char_bytes(text, pos);
  return pos;
}

bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

namespace {

pcre2_code* compile(const char* pattern) {
  int code;
  PCRE2_SIZE offset;
  pcre2_code* regex = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED,
                                    PCRE2_UTF | PCRE2_UCP | PCRE2_DOTALL, &code, &offset, nullptr);
  if (!regex) fail(VKMOE_ERROR_INTERNAL, "pcre2 rejects ", pattern);
  return regex;
}

// Unicode's simple case mapping, by PCRE2's tables. Text that is not UTF-8 throughout gets ASCII's.
std::string change_case(std::string_view text, bool to_upper) {
  std::string ascii(text);
  bool plain = true;
  for (char& c : ascii) {
    plain &= uint8_t(c) < 0x80;
    if (to_upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z') c ^= 0x20;
  }
  if (plain) return ascii;
  // Letters whose other case is longer, or one of several, so that PCRE2 has no or another one.
  static const std::vector<std::pair<std::string, std::string>> to_uppers = {
      {"ß", "SS"}, {"ı", "I"}, {"ſ", "S"}, {"µ", "Μ"}, {"ι", "Ι"}, {"μ", "Μ"}, {"ς", "Σ"}, {"ŉ", "ʼN"}};
  static const std::vector<std::pair<std::string, std::string>> to_lowers = {{"İ", "i\xcc\x87"}};
  std::string source;
  for (size_t pos = 0, bytes; pos < text.size(); pos += bytes) {
    bytes = char_bytes(text, pos);
    std::string_view part = text.substr(pos, bytes);
    for (const auto& [from, to] : to_upper ? to_uppers : to_lowers) {
      if (part == from) part = to;
    }
    source += part;
  }
  static pcre2_code* const all = compile(".+");
  const char* replacement = to_upper ? "\\U$0" : "\\L$0";
  std::string result(source.size() * 3 + 16, '\0');
  PCRE2_SIZE size = result.size();
  int rc = pcre2_substitute(all, reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(), 0,
                            PCRE2_SUBSTITUTE_EXTENDED, nullptr, nullptr, reinterpret_cast<PCRE2_SPTR>(replacement),
                            PCRE2_ZERO_TERMINATED, reinterpret_cast<PCRE2_UCHAR*>(result.data()), &size);
  if (rc < 0) return ascii;
  result.resize(size);
  return result;
}

}  // namespace

bool is_class(char32_t c, CharClass kind) {
  static const std::array<pcre2_code*, 6> classes = {compile("\\p{L}"),         compile("\\p{Nd}"),
                                                     compile("\\p{Ll}"),        compile("\\p{Lu}"),
                                                     compile("[\\p{L}\\p{N}]"), compile("[\\p{C}\\p{Z}]")};
  if (c == ' ' && kind == CharClass::unprintable) return false;
  if (c >= 0xd800 && c < 0xe000) return kind == CharClass::unprintable;
  std::string text;
  append_char(text, c);
  pcre2_match_data* match = pcre2_match_data_create(1, nullptr);
  int rc = pcre2_match(classes[size_t(kind)], reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, match,
                       nullptr);
  pcre2_match_data_free(match);
  return rc >= 0;
}

std::string_view strip(std::string_view text, const std::string* chars, bool left, bool right) {
  std::set<char32_t> set;
  auto strippable = [&](size_t pos, size_t* bytes) {
    char32_t c = decode_char(text, pos, bytes);
    if (!chars) return is_space(c);
    return set.count(c) > 0;
  };
  size_t bytes;
  for (size_t pos = 0; chars && pos < chars->size(); pos += bytes) set.insert(decode_char(*chars, pos, &bytes));
  while (left && !text.empty() && strippable(0, &bytes)) text.remove_prefix(bytes);
  while (right && !text.empty()) {
    size_t pos = text.size() - 1;  // back to a character that ends where the text does
    for (size_t back = 2; back <= 4 && back <= text.size(); ++back) {
      if (char_bytes(text, text.size() - back) == back) pos = text.size() - back;
    }
    if (!strippable(pos, &bytes)) break;
    text.remove_suffix(bytes);
  }
  return text;
}

namespace {

// Knuth, Morris, Pratt: the first or last place of a long part.
size_t find_long(std::string_view text, std::string_view part, size_t from, bool last) {
  std::vector<size_t> borders(part.size() + 1, 0);  // of each prefix of the part
  for (size_t i = 1, k = 0; i < part.size(); ++i) {
    while (k > 0 && part[i] != part[k]) k = borders[k];
    if (part[i] == part[k]) ++k;
    borders[i + 1] = k;
  }
  size_t found = std::string_view::npos;
  for (size_t i = from, k = 0; i < text.size(); ++i) {
    while (k > 0 && text[i] != part[k]) k = borders[k];
    if (text[i] == part[k]) ++k;
    if (k < part.size()) continue;
    found = i + 1 - k;
    if (!last) break;
    k = borders[k];
  }
  return found;
}

constexpr size_t kLongPart = 64;

}  // namespace

size_t find_text(std::string_view text, std::string_view part, size_t from) {
  return part.size() < kLongPart ? text.find(part, from) : find_long(text, part, from, false);
}

size_t find_last_text(std::string_view text, std::string_view part) {
  return part.size() < kLongPart ? text.rfind(part) : find_long(text, part, 0, true);
}

std::string upper(std::string_view text) { return change_case(text, true); }
std::string lower(std::string_view text) { return change_case(text, false); }

std::string capitalize(std::string_view text) {
  size_t first = text.empty() ? 0 : char_bytes(text, 0);
  return upper(text.substr(0, first)) + lower(text.substr(first));
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  std::string_view scientific(buffer, size_t(end - buffer));
  size_t e = scientific.find('e');
  int exponent = std::atoi(std::string(scientific.substr(e + 1)).c_str());
  if (exponent < -4 || exponent >= 16) return std::string(scientific);
  end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed).ptr;
  std::string fixed(buffer, end);
  return fixed.find('.') == std::string::npos ? fixed + ".0" : fixed;
}

std::string string_repr(std::string_view text) {
  char quote = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  size_t bytes;
  for (size_t pos = 0; pos < text.size(); pos += bytes) {
    char32_t c = decode_char(text, pos, &bytes);
    char escaped[16];
    if (c == char32_t(quote) || c == '\\') {
      out += {'\\', char(c)};
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (c < 0x7f ? c >= ' ' : !is_class(c, CharClass::unprintable)) {
      out += text.substr(pos, bytes);
    } else {
      std::snprintf(escaped, sizeof escaped,
                    c < 0x100     ? "\\x%02x"
                    : c < 0x10000 ? "\\u%04x"
                                  : "\\U%08x",
                    unsigned(c));
      out += escaped;
    }
  }
  return out + quote;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '\'': out += "&#39;"; break;
      case '"': out += "&#34;"; break;
      default: out += c;
    }
  }
  return out;
}

}  // namespace vkmoe::jinja
