// Regular expressions with Unicode properties, by PCRE2. Used by the pre-tokenizers and normalizers.
#pragma once
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "loader/utf8.h"

namespace vkmoe {

class Regex {
 public:
  // A pattern written as the Oniguruma of `tokenizers` reads it; VKMOE_ERROR_UNSUPPORTED where PCRE2 would read it
  // differently or not at all. `origin` names file and key in messages.
  Regex(const std::string& pattern, const std::string& origin);
  static Regex literal(const std::string& text, const std::string& origin);

  // Calls on_match(begin, end) for each match in valid UTF-8, from left to right; empty ones, too.
  template <class OnMatch>
  void for_each_match(std::string_view text, const OnMatch& on_match) const {
    size_t at = 0, begin = 0, end = 0, last_end = std::string_view::npos;
    while (at <= text.size() && find(text, at, &begin, &end)) {
      bool is_empty = end <= begin;  // with \K, begin may even lie behind end
      if (!is_empty || begin != last_end) on_match(begin, std::max(begin, end));
      at = last_end = std::max(begin, end);
      if (is_empty) {
        int length = utf8_char(text.substr(at));
        at += size_t(length > 0 ? length : 1);
      }
    }
  }

 private:
  struct Code;
  explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  bool find(std::string_view text, size_t at, size_t* begin, size_t* end) const;
  std::shared_ptr<const Code> code_;
};

}  // namespace vkmoe
