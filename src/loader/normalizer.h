// Changes text before it is cut into words: steps as the normalizers of `tokenizers` and SentencePiece. Used by the
// tokenizers.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "loader/pair_map.h"
#include "loader/regex.h"
#include "loader/unicode.h"

namespace vkmoe {

// SentencePiece's precompiled_charsmap: a double array (Darts-clone's layout) that leads from texts to replacements.
class Charsmap {
 public:
  // Fails with VKMOE_ERROR_BAD_FILE where the blob contradicts itself. Empty: maps nothing.
  Charsmap() = default;
  Charsmap(std::string_view blob, const std::string& origin);

  // What the start of `text` becomes, and the bytes that are replaced, of the longest or the shortest text that it
  // knows; 0 where it knows none.
  size_t find(std::string_view text, bool longest, std::string_view* replacement) const;

 private:
  std::vector<uint32_t> units_;
  std::string replacements_;
};

class Normalizer {
 public:
  using Step = std::function<void(std::string& text)>;
  void add(Step step) { steps_.push_back(std::move(step)); }

  void add_form(NormalForm form);
  void add_replace(const Regex& regex, const std::string& content);
  // tokenizers' Precompiled: by grapheme, shortest match.
  void add_charsmap(Charsmap map);
  // BertNormalizer.
  void add_bert(bool clean_text, bool chinese_chars, bool strip_accents, bool lower);

  // As SentencePiece's normalizer: the longest match of the map, except in texts of `keep`; runs of spaces become one
  // and none stays at the ends (merge_spaces); a space in front (prefix) or at the end (suffix); then spaces become
  // U+2581 where `escape`.
  struct SentencePieceRule {
    Charsmap map;
    bool merge_spaces = false, prefix = false, suffix = false, escape = true;
    Trie keep;
  };
  void add_sentencepiece(SentencePieceRule rule);

  bool empty() const { return steps_.empty(); }
  std::string apply(std::string_view text) const;

 private:
  std::vector<Step> steps_;
};

extern const std::string space_symbol;  // U+2581, SentencePiece's space

}  // namespace vkmoe
