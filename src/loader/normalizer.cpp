#include "loader/normalizer.h"

#include <utf8proc.h>

#include <cstring>
#include <memory>

#include "base/error.h"

namespace vkmoe {

const std::string space_symbol = "\u2581";

// ---- Charsmap --------------------------------------------------------------------------------------------------

Charsmap::Charsmap(std::string_view blob, const std::string& origin) {
  if (blob.empty()) return;
  uint32_t trie_bytes = 0;
  if (blob.size() >= 4) std::memcpy(&trie_bytes, blob.data(), 4);
  if (blob.size() < 4 || trie_bytes % 4 || trie_bytes == 0 || trie_bytes > blob.size() - 4)
    fail(VKMOE_ERROR_BAD_FILE, origin, ": precompiled_charsmap: expected the length of a table and the table, found ",
         blob.size(), " bytes and a length of ", trie_bytes);
  units_.resize(trie_bytes / 4);
  std::memcpy(units_.data(), blob.data() + 4, trie_bytes);
  replacements_ = blob.substr(4 + trie_bytes);
  if (replacements_.empty() || replacements_.back() != '\0')
    fail(VKMOE_ERROR_BAD_FILE, origin, ": precompiled_charsmap: expected texts that end with a zero byte");
}

size_t Charsmap::find(std::string_view text, bool longest, std::string_view* replacement) const {
  if (units_.empty()) return 0;
  auto offset = [](uint32_t unit) { return (unit >> 10) << ((unit & 512) >> 6); };
  size_t found = 0;
  uint32_t at = offset(units_[0]);
  for (size_t i = 0; i < text.size(); i++) {
    at ^= uint8_t(text[i]);
    if (at >= units_.size() || (units_[at] & 0x800000ff) != uint8_t(text[i]) || text[i] == 0) break;
    uint32_t unit = units_[at];
    at ^= offset(unit);
    if (at >= units_.size()) break;
    if (!(unit >> 8 & 1)) continue;
    uint32_t start = units_[at] & 0x7fffffff;
    if (start >= replacements_.size()) break;
    *replacement = replacements_.c_str() + start;
    found = i + 1;
    if (!longest) break;
  }
  return found;
}

// ---- Normalizer ------------------------------------------------------------------------------------------------

void Normalizer::add_form(NormalForm form) {
  add([form](std::string& text) { text = normalized(text, form); });
}

void Normalizer::add_replace(const Regex& regex, const std::string& content) {
  add([=](std::string& text) {
    std::string out, from;
    from.swap(text);
    for (std::string_view rest = from; !rest.empty();) {  // bytes that are no UTF-8 stay
      size_t valid = utf8_valid_bytes(rest), at = 0;
      std::string_view part = rest.substr(0, valid);
      regex.for_each_match(part, [&](size_t begin, size_t end) {
        out += part.substr(at, begin - at);
        out += content;
        at = end;
      });
      out += part.substr(at);
      rest.remove_prefix(valid);
      if (!rest.empty()) out += rest[0], rest.remove_prefix(1);
    }
    text.swap(out);
  });
}

void Normalizer::add_charsmap(Charsmap map) {
  auto shared = std::make_shared<Charsmap>(std::move(map));
  add([shared](std::string& text) {
    std::string out, from;
    from.swap(text);
    std::string_view replacement;
    auto emit = [&](std::string_view grapheme) {
      if (grapheme.size() < 6 && shared->find(grapheme, false, &replacement)) {
        out += replacement;
        return;
      }
      for_each_char(grapheme, [&](uint32_t, std::string_view c) {
        out += shared->find(c, false, &replacement) ? replacement : c;
      });
    };
    size_t begin = 0, at = 0;
    utf8proc_int32_t state = 0, before = 0;
    for_each_char(from, [&](uint32_t c, std::string_view bytes) {
      if (at && utf8proc_grapheme_break_stateful(before, utf8proc_int32_t(c), &state)) {
        emit(std::string_view(from).substr(begin, at - begin));
        begin = at;
      }
      before = utf8proc_int32_t(c);
      at += bytes.size();
    });
    if (begin < from.size()) emit(std::string_view(from).substr(begin));
    text.swap(out);
  });
}

static bool is_chinese_char(uint32_t c) {
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
         (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) ||
         (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

void Normalizer::add_bert(bool clean_text, bool chinese_chars, bool strip_accents, bool lower) {
  add([=](std::string& text) {
    std::string out;
    for_each_char(text, [&](uint32_t c, std::string_view bytes) {
      if (clean_text) {
        utf8proc_category_t category = utf8proc_category(utf8proc_int32_t(c));
        bool space = is_white_space(c);
        bool control = c != '\t' && c != '\n' && c != '\r' &&
                       (category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
                        category == UTF8PROC_CATEGORY_CO || category == UTF8PROC_CATEGORY_CN);
        if (c == 0 || c == 0xfffd || control) return;
        if (space) {
          out += ' ';
          return;
        }
      }
      if (chinese_chars && is_chinese_char(c)) {
        out += ' ';
        out += bytes;
        out += ' ';
      } else {
        out += bytes;
      }
    });
    if (strip_accents) {
      std::string plain;
      for_each_char(normalized(out, NormalForm::nfd), [&](uint32_t c, std::string_view bytes) {
        if (!is_nonspacing_mark(c)) plain += bytes;
      });
      out.swap(plain);
    }
    text = lower ? lower_case(out) : out;
  });
}

static std::string map_chars(const std::string& text, const Normalizer::SentencePieceRule& rule) {
  std::string out;
  out.reserve(text.size() + 8);
  std::string_view rest = text, replacement;
  while (!rest.empty()) {
    size_t kept = 0, replaced = 0;
    rule.keep.prefixes(rest, [&](int32_t, size_t length) { kept = length; });
    if (!kept) replaced = rule.map.find(rest, true, &replacement);
    if (replaced) {
      out += replacement;
    } else {
      int length = utf8_char(rest);
      replaced = kept ? kept : length > 0 ? size_t(length) : 1;
      out += rest.substr(0, replaced);
    }
    rest.remove_prefix(replaced);
  }
  return out;
}

void Normalizer::add_sentencepiece(SentencePieceRule given) {
  auto rule = std::make_shared<SentencePieceRule>(std::move(given));
  add([rule](std::string& text) {
    std::string from = map_chars(text, *rule), out;
    if (rule->merge_spaces) {
      size_t begin = std::min(from.find_first_not_of(' '), from.size());
      size_t end = from.find_last_not_of(' ') + 1;
      for (size_t i = begin; i < end; i++)
        if (from[i] != ' ' || from[i - 1] != ' ') out += from[i];
      from.swap(out);
    }
    text.clear();
    if (from.empty()) return;
    while (rule->merge_spaces && rule->escape && from.ends_with(space_symbol)) from.resize(from.size() - space_symbol.size());
    if (from.empty() && !rule->suffix) return;
    if (rule->prefix && !rule->suffix) from.insert(0, 1, ' ');
    if (rule->prefix && rule->suffix) from += ' ';
    if (!rule->escape) return text.swap(from);
    text.reserve(from.size() + from.size() / 2);
    for (char c : from) {
      if (c == ' ') {
        text += space_symbol;
      } else {
        text += c;
      }
    }
  });
}

std::string Normalizer::apply(std::string_view text) const {
  std::string out(text);
  for (const Step& step : steps_) step(out);
  return out;
}

}  // namespace vkmoe
