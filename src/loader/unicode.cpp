#include "loader/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/error.h"

namespace vkmoe {

bool is_white_space(uint32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static utf8proc_category_t category(uint32_t c) { return utf8proc_category(utf8proc_int32_t(c)); }

bool is_punctuation(uint32_t c) {
  if (c < 0x80) return (c >= 0x21 && c <= 0x2f) || (c >= 0x3a && c <= 0x40) || (c >= 0x5b && c <= 0x60) ||
                       (c >= 0x7b && c <= 0x7e);
  utf8proc_category_t found = category(c);
  return found >= UTF8PROC_CATEGORY_PC && found <= UTF8PROC_CATEGORY_PO;
}

bool is_mark(uint32_t c) {
  utf8proc_category_t found = category(c);
  return found >= UTF8PROC_CATEGORY_MN && found <= UTF8PROC_CATEGORY_ME;
}

bool is_nonspacing_mark(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_MN; }

bool is_word_char(uint32_t c) {
  utf8proc_category_t found = category(c);
  return (found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_NL) || found == UTF8PROC_CATEGORY_PC ||
         c == 0x200c || c == 0x200d;
}

size_t leading_space(std::string_view text) {
  size_t at = 0;
  uint32_t c = 0;
  for (int length; (length = utf8_char(text.substr(at), &c)) > 0 && is_white_space(c);) at += size_t(length);
  return at;
}

size_t trailing_space(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t start = end - 1;
    while (start > 0 && end - start < 4 && (uint8_t(text[start]) & 0xc0) == 0x80) start--;
    uint32_t c = 0;
    if (utf8_char(text.substr(start, end - start), &c) != int(end - start) || !is_white_space(c)) break;
    end = start;
  }
  return text.size() - end;
}

std::string normalized(std::string_view text, NormalForm form) {
  bool compose = form == NormalForm::nfc || form == NormalForm::nfkc;
  bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  // ASCII is in every form, all below U+0300 in NFC.
  uint8_t first_changed = form == NormalForm::nfc ? 0xcc : 0x80;
  if (std::none_of(text.begin(), text.end(), [&](char c) { return uint8_t(c) >= first_changed; }))
    return std::string(text);
  int options = UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                (compatible ? UTF8PROC_COMPAT : 0);
  std::string out;
  while (!text.empty()) {
    size_t valid = utf8_valid_bytes(text);
    if (valid) {
      utf8proc_uint8_t* result = nullptr;
      utf8proc_ssize_t length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             utf8proc_ssize_t(valid), &result, utf8proc_option_t(options));
      std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, std::free);
      if (length < 0) fail(VKMOE_ERROR_OUT_OF_MEMORY, "normalization of a text: ", utf8proc_errmsg(length));
      out.append(reinterpret_cast<char*>(result), size_t(length));
      text.remove_prefix(valid);
    }
    size_t invalid = 0;
    while (invalid < text.size() && utf8_char(text.substr(invalid)) <= 0) invalid++;
    out.append(text.substr(0, invalid));
    text.remove_prefix(invalid);
  }
  return out;
}

std::string lower_case(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_char(text, [&](uint32_t c, std::string_view bytes) {
    uint32_t lower = uint32_t(utf8proc_tolower(utf8proc_int32_t(c)));
    if (c == 0x130) {
      out += "i\u0307";  // the one character whose lower case is two
    } else if (lower == c) {
      out += bytes;
    } else {
      append_utf8(out, lower);
    }
  });
  return out;
}

}  // namespace vkmoe
