// What Unicode says about characters, and normalization. Used by the tokenizers.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace vkmoe {

bool is_white_space(uint32_t c);       // White_Space
bool is_punctuation(uint32_t c);       // of ASCII all that is graphic and no letter or digit; otherwise category P
bool is_mark(uint32_t c);              // category M
bool is_nonspacing_mark(uint32_t c);   // category Mn
bool is_word_char(uint32_t c);         // what a regular expression calls \w

size_t leading_space(std::string_view text);   // bytes of white space at its start
size_t trailing_space(std::string_view text);  // bytes of white space at its end

enum class NormalForm { nfc, nfd, nfkc, nfkd };
// Of the parts that are UTF-8; other bytes stay.
std::string normalized(std::string_view text, NormalForm form);

std::string lower_case(std::string_view text);  // each character on its own, without regard to its place in a word

// Calls on_char(code point, its bytes) for each character; a byte that is no UTF-8 comes alone, with code point U+FFFD.
template <class OnChar>
void for_each_char(std::string_view text, const OnChar& on_char);

}  // namespace vkmoe

#include "loader/utf8.h"

template <class OnChar>
void vkmoe::for_each_char(std::string_view text, const OnChar& on_char) {
  for (size_t at = 0; at < text.size();) {
    uint32_t c = 0xfffd;
    int length = utf8_char(text.substr(at), &c);
    if (length <= 0) length = 1, c = 0xfffd;
    on_char(c, text.substr(at, size_t(length)));
    at += size_t(length);
  }
}
