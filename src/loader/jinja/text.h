// Text as Python's str sees it: code points of UTF-8. A byte that is not UTF-8 counts as one character and is kept.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vkmoe::jinja {

// Bytes of the character at pos, and its code point (0xdc00 + byte for an invalid byte).
size_t char_bytes(std::string_view text, size_t pos);
char32_t decode_char(std::string_view text, size_t pos, size_t* bytes);
void append_char(std::string& text, char32_t c);

size_t count_chars(std::string_view text);
size_t byte_offset(std::string_view text, size_t chars);  // of the character with this number, at most the size

bool is_space(char32_t c);  // str.isspace
enum class CharClass { letter, decimal, lower, upper, alphanumeric, unprintable };
bool is_class(char32_t c, CharClass kind);

// Without whitespace (chars null) or any of these characters at its ends.
std::string_view strip(std::string_view text, const std::string* chars, bool left, bool right);

// As std::string's find and rfind, in linear time.
size_t find_text(std::string_view text, std::string_view part, size_t from = 0);
size_t find_last_text(std::string_view text, std::string_view part);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);

std::string float_repr(double value);
std::string string_repr(std::string_view text);
std::string escape_html(std::string_view text);

}  // namespace vkmoe::jinja
