#include "loader/wordpiece.h"

#include "loader/tokenizer_parts.h"

namespace vkmoe {

WordPieceModel::WordPieceModel(const std::vector<Token>& tokens, const std::vector<bool>& begins, int32_t unknown,
                               size_t max_chars)
    : unknown_(unknown), max_chars_(max_chars) {
  for (size_t id = 0; id < tokens.size(); id++)
    if (tokens[id].kind == TokenKind::normal && !tokens[id].text.empty())
      (begins[id] ? begins_ : continues_).add(tokens[id].text, int32_t(id));
}

void WordPieceModel::encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const {
  cache.append(word, ids, [&] {
    size_t begin = ids.size(), chars = 0;
    for (char c : word) chars += (uint8_t(c) & 0xc0) != 0x80;
    for (std::string_view rest = word; !rest.empty();) {
      int32_t best = -1;
      size_t length = 0;
      (rest.size() == word.size() ? begins_ : continues_).prefixes(rest, [&](int32_t id, size_t bytes) { best = id, length = bytes; });
      if (best < 0 || chars > max_chars_) {
        ids.resize(begin);
        if (unknown_ >= 0) ids.push_back(unknown_);
        return;
      }
      ids.push_back(best);
      rest.remove_prefix(length);
    }
  });
}

void wordpiece_model(TokenizerParts& parts, const std::vector<bool>& begins, int32_t unknown, size_t max_chars) {
  parts.model = std::make_unique<WordPieceModel>(parts.tokens, begins, unknown, max_chars);
  parts.strip_first_space = true;
  for (size_t id = 0; id < begins.size(); id++)
    if (begins[id] && parts.tokens[id].kind == TokenKind::normal) parts.tokens[id].text.insert(0, 1, ' ');
}

}  // namespace vkmoe
