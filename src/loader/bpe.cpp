#include "loader/bpe.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "loader/utf8.h"

namespace vkmoe {

namespace {

constexpr size_t max_added_bytes = 1024;

// GPT-2 writes byte b as one printable character: itself, or U+0100 + n for the n-th byte that is not printable.
struct ByteLevel {
  std::array<int16_t, 0x144> byte_of;

  ByteLevel() {
    byte_of.fill(-1);
    int others = 0;
    for (int b = 0; b < 256; b++) {
      bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      byte_of[size_t(printable ? b : 0x100 + others++)] = int16_t(b);
    }
  }

  // false where a character stands for no byte.
  bool decode(std::string_view text, std::string& bytes) const {
    bytes.clear();
    while (!text.empty()) {
      uint32_t code_point;
      int length = utf8_char(text, &code_point);
      if (length <= 0 || code_point >= byte_of.size() || byte_of[code_point] < 0) return false;
      bytes += char(byte_of[code_point]);
      text.remove_prefix(size_t(length));
    }
    return true;
  }
};
const ByteLevel byte_level;

bool is_space(uint32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

size_t leading_space(std::string_view text) {
  size_t at = 0;
  uint32_t c = 0;
  for (int length; (length = utf8_char(text.substr(at), &c)) > 0 && is_space(c);) at += size_t(length);
  return at;
}

size_t trailing_space(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t start = end - 1;
    while (start > 0 && end - start < 4 && (uint8_t(text[start]) & 0xc0) == 0x80) start--;
    uint32_t c = 0;
    if (utf8_char(text.substr(start, end - start), &c) != int(end - start) || !is_space(c)) break;
    end = start;
  }
  return text.size() - end;
}

// Normalization form C of the parts that are UTF-8. All of it below U+0300 is in that form already.
std::string to_nfc(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    size_t valid = utf8_valid_bytes(text);
    if (valid) {
      utf8proc_uint8_t* result = nullptr;
      utf8proc_ssize_t length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             utf8proc_ssize_t(valid), &result,
                                             utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
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

bool needs_nfc(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return uint8_t(c) >= 0xcc; });
}

}  // namespace

// ---- tables ----------------------------------------------------------------------------------------------------

void BpeTokenizer::Trie::add(std::string_view text, int32_t id) {
  uint32_t node = 0;
  for (char c : text) {
    auto [edge, is_new] = edges_.try_emplace(uint64_t(node) << 8 | uint8_t(c), uint32_t(ids_.size()));
    if (is_new) ids_.push_back(-1);
    node = edge->second;
  }
  ids_[node] = id;
  first_[uint8_t(text[0])] = true;
}

template <class Wanted>
int32_t BpeTokenizer::Trie::find(std::string_view text, const Wanted& wanted) const {
  int32_t best = -1;
  if (!first_[uint8_t(text[0])]) return best;
  uint32_t node = 0;
  for (char c : text) {
    auto edge = edges_.find(uint64_t(node) << 8 | uint8_t(c));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (ids_[node] >= 0 && wanted(ids_[node])) best = ids_[node];
  }
  return best;
}

void BpeTokenizer::PairMap::reserve(size_t count) {
  int bits = 4;
  while ((size_t(1) << bits) < 2 * count) bits++;
  slots_.assign(size_t(1) << bits, {});
  shift_ = 64 - bits;
}

bool BpeTokenizer::PairMap::insert(int32_t left, int32_t right, uint32_t rank) {
  uint64_t key = uint64_t(uint32_t(left)) << 32 | uint32_t(right);
  for (size_t i = start(key);; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].key == key) return false;
    if (slots_[i].key != UINT64_MAX) continue;
    slots_[i] = {key, rank};
    return true;
  }
}

uint32_t BpeTokenizer::PairMap::find(int32_t left, int32_t right) const {
  uint64_t key = uint64_t(uint32_t(left)) << 32 | uint32_t(right);
  for (size_t i = start(key);; i = (i + 1) & (slots_.size() - 1)) {
    if (slots_[i].key == key) return slots_[i].rank;
    if (slots_[i].key == UINT64_MAX) return none;
  }
}

BpeTokenizer::BpeTokenizer(BpeParts&& parts)
    : origin_(std::move(parts.origin)),
      tokens_(std::move(parts.tokens)),
      pre_tokenizer_(std::move(parts.pre_tokenizer)),
      ignore_merges_(parts.ignore_merges),
      nfc_(parts.nfc) {
  std::string bytes;
  ids_.reserve(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); id++) {
    Token& token = tokens_[id];
    if (token.kind == TokenKind::normal && !token.text.empty()) {
      if (!byte_level.decode(token.text, bytes)) continue;  // cannot come out of bytes, but shows as it is
      token.text = bytes;
      ids_[token.text] = int32_t(id);
    } else if (!token.text.empty()) {
      if (token.text.size() > max_added_bytes)
        fail(VKMOE_ERROR_UNSUPPORTED, origin_, ": added token ", id, " has ", token.text.size(),
             " bytes; at most ", max_added_bytes, " are supported");
      (token.normalized ? normalized_added_ : raw_added_).add(token.text, int32_t(id));
    }
  }
  // Merges may lead to tokens that are looked for as well.
  std::unordered_map<std::string, int32_t> others;
  for (size_t id = 0; id < tokens_.size(); id++)
    if (tokens_[id].kind != TokenKind::normal && byte_level.decode(tokens_[id].text, bytes))
      others.emplace(bytes, int32_t(id));
  auto find = [&](const std::string& text) {
    if (auto found = ids_.find(text); found != ids_.end()) return found->second;
    auto found = others.find(text);
    return found == others.end() ? -1 : found->second;
  };
  for (int b = 0; b < 256; b++) byte_ids_[size_t(b)] = find(std::string(1, char(b)));
  ranks_.reserve(parts.merges.size());
  auto lookup = [&](const std::string& text, size_t rank) {
    int32_t id = text.empty() ? -1 : find(text);
    if (id < 0 && !parts.skip_unknown_merges)
      fail(VKMOE_ERROR_BAD_FILE, origin_, ": merge ", rank, " ('", parts.merges[rank].first, "' '",
           parts.merges[rank].second, "'): one of its parts or their joint text is not in the vocabulary");
    return id;
  };
  std::string left, right;
  for (size_t rank = 0; rank < parts.merges.size(); rank++) {
    if (!byte_level.decode(parts.merges[rank].first, left)) left.clear();
    if (!byte_level.decode(parts.merges[rank].second, right)) right.clear();
    int32_t left_id = lookup(left, rank), right_id = lookup(right, rank), joint_id = lookup(left + right, rank);
    if (left_id < 0 || right_id < 0 || joint_id < 0) continue;
    ranks_.insert(left_id, right_id, uint32_t(results_.size()));
    results_.push_back(joint_id);
  }
}

// ---- encoding --------------------------------------------------------------------------------------------------

struct BpeTokenizer::Scratch {
  struct Symbol {
    int32_t id;  // -1: merged into the one before
    uint32_t previous, next;
  };
  struct Candidate {
    uint32_t rank, left;
    int32_t left_id, right_id;  // stale when the symbols are no longer these
    // Lowest rank first, leftmost of equals: greatest in the heap.
    bool operator<(const Candidate& o) const { return rank != o.rank ? rank > o.rank : left > o.left; }
  };
  std::vector<std::string_view> words;
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

void BpeTokenizer::encode_word(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const {
  constexpr uint32_t none = UINT32_MAX;
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  if (ignore_merges_) {
    auto found = ids_.find(word);
    if (found != ids_.end()) return ids.push_back(found->second);
  }
  uint32_t count = uint32_t(word.size());
  symbols.resize(count);
  for (uint32_t i = 0; i < count; i++) {
    int32_t id = byte_ids_[uint8_t(word[i])];
    if (id < 0)
      fail(VKMOE_ERROR_UNSUPPORTED, origin_, ": the vocabulary has no token for byte ", int(uint8_t(word[i])));
    symbols[i] = {id, i ? i - 1 : none, i + 1 < count ? i + 1 : none};
  }
  heap.clear();
  auto consider = [&](uint32_t left) {
    const auto& symbol = symbols[left];
    uint32_t rank = ranks_.find(symbol.id, symbols[symbol.next].id);
    if (rank == PairMap::none) return false;
    heap.push_back({rank, left, symbol.id, symbols[symbol.next].id});
    return true;
  };
  for (uint32_t i = 0; i + 1 < count; i++) consider(i);
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    auto best = heap.back();
    heap.pop_back();
    auto& left = symbols[best.left];
    if (left.id != best.left_id || left.next == none || symbols[left.next].id != best.right_id) continue;
    auto& right = symbols[left.next];
    left.id = results_[best.rank];
    left.next = right.next;
    right.id = -1;
    if (left.next != none) {
      symbols[left.next].previous = best.left;
      if (consider(best.left)) std::push_heap(heap.begin(), heap.end());
    }
    if (left.previous != none && consider(left.previous)) std::push_heap(heap.begin(), heap.end());
  }
  for (uint32_t i = 0; i != none; i = symbols[i].next) ids.push_back(symbols[i].id);
}

void BpeTokenizer::encode_plain(std::string_view text, Scratch& scratch, std::vector<int32_t>& ids) const {
  scratch.words.clear();
  pre_tokenizer_.split(text, scratch.words);
  for (std::string_view word : scratch.words) encode_word(word, scratch, ids);
}

// Calls on_text for the text between added tokens, leftmost first and longest first among those.
template <class OnText>
void BpeTokenizer::split_added(const Trie& trie, std::string_view text, bool parse_special, std::vector<int32_t>& ids,
                               const OnText& on_text) const {
  auto wanted = [&](int32_t id) { return parse_special || tokens_[size_t(id)].kind == TokenKind::added; };
  size_t plain = 0;  // start of the text not yet dealt with
  for (size_t at = 0; !trie.empty() && at < text.size();) {
    int32_t id = trie.find(text.substr(at), wanted);
    if (id < 0) {
      at++;
      continue;
    }
    const Token& token = tokens_[size_t(id)];
    size_t begin = at, end = at + token.text.size();
    if (token.left_strip) begin -= trailing_space(text.substr(plain, at - plain));
    if (token.right_strip) end += leading_space(text.substr(end));
    if (begin > plain) on_text(text.substr(plain, begin - plain));
    ids.push_back(id);
    plain = at = end;
  }
  if (plain < text.size()) on_text(text.substr(plain));
}

std::vector<int32_t> BpeTokenizer::encode(std::string_view text, bool parse_special) const {
  if (text.size() >= UINT32_MAX)
    fail(VKMOE_ERROR_INVALID_ARGUMENT, "expected a text of less than 2^32 - 1 bytes, found ", text.size());
  std::vector<int32_t> ids;
  Scratch scratch;
  split_added(raw_added_, text, parse_special, ids, [&](std::string_view part) {
    std::string normal;
    if (nfc_ && needs_nfc(part)) part = normal = to_nfc(part);
    split_added(normalized_added_, part, parse_special, ids,
                [&](std::string_view plain) { encode_plain(plain, scratch, ids); });
  });
  return ids;
}

std::string BpeTokenizer::token_bytes(int32_t id, bool special) const {
  if (id < 0 || size_t(id) >= tokens_.size()) return "";
  const Token& token = tokens_[size_t(id)];
  return token.kind == TokenKind::control && !special ? "" : token.text;
}

}  // namespace vkmoe
