// Cuts text into the words that BPE merges within: one regular expression after the other, each applied to the pieces
// that the one before has left. Used by the tokenizers.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace vkmoe {

class PreTokenizer {
 public:
  PreTokenizer();
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;

  // Every match of the pattern becomes a piece, and so does the text between matches. The pattern is written as the
  // Oniguruma of `tokenizers` reads it; VKMOE_ERROR_UNSUPPORTED where PCRE2 would read it differently or not at all.
  // `origin` names file and key in messages.
  void add_regex(const std::string& pattern, const std::string& origin);
  void add_literal(const std::string& text, const std::string& origin);

  // Appends pieces that together are exactly `text`, any bytes. A run of bytes that are no UTF-8 is its own piece.
  void split(std::string_view text, std::vector<std::string_view>& pieces) const;

 private:
  struct Regex;
  void compile(const std::string& pattern, const std::string& shown, const std::string& origin);
  std::vector<std::unique_ptr<Regex>> regexes_;
};

}  // namespace vkmoe
