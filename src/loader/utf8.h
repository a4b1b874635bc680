// UTF-8, strictly (no overlong forms, no surrogates, at most U+10FFFF).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vkmoe {

// The character at the start of `text`: its length in bytes, 1 to 4; 0 where no valid character starts; -1 where the
// text ends inside of what may become one. `code_point` may be nullptr.
inline int utf8_char(std::string_view text, uint32_t* code_point = nullptr) {
  if (text.empty()) return -1;
  auto byte = [&](size_t i) { return uint32_t(uint8_t(text[i])); };
  uint32_t lead = byte(0);
  int length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length == 0) return 0;
  uint32_t value = length == 1 ? lead : lead & (0x7f >> length);
  for (int i = 1; i < length; i++) {
    if (size_t(i) >= text.size()) return -1;
    uint32_t low = 0x80, high = 0xbf;
    if (i == 1) {
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    }
    if (byte(i) < low || byte(i) > high) return 0;
    value = value << 6 | (byte(i) & 0x3f);
  }
  if (code_point) *code_point = value;
  return length;
}

// Bytes from the start of `text` that are valid UTF-8.
inline size_t utf8_valid_bytes(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    if (uint8_t(text[at]) < 0x80) {
      at++;
      continue;
    }
    int length = utf8_char(text.substr(at));
    if (length <= 0) break;
    at += size_t(length);
  }
  return at;
}

inline void append_utf8(std::string& text, uint32_t code_point) {
  if (code_point < 0x80) {
    text += char(code_point);
  } else if (code_point < 0x800) {
    text += char(0xc0 | code_point >> 6);
    text += char(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    text += char(0xe0 | code_point >> 12);
    text += char(0x80 | (code_point >> 6 & 0x3f));
    text += char(0x80 | (code_point & 0x3f));
  } else {
    text += char(0xf0 | code_point >> 18);
    text += char(0x80 | (code_point >> 12 & 0x3f));
    text += char(0x80 | (code_point >> 6 & 0x3f));
    text += char(0x80 | (code_point & 0x3f));
  }
}

}  // namespace vkmoe
