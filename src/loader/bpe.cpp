#include "loader/bpe.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "loader/pre_tokenizer.h"

namespace vkmoe {

constexpr size_t max_scored_bytes = 1024;

// ---- tables ----------------------------------------------------------------------------------------------------

BpeModel::BpeModel(const std::vector<Token>& tokens, BpeParts&& parts)
    : origin_(std::move(parts.origin)),
      unnamed_(int32_t(tokens.size())),
      fallback_(parts.fallback),
      bytes_(parts.bytes),
      ignore_merges_(parts.ignore_merges),
      whole_newlines_(parts.whole_newlines) {
  byte_ids_.fill(no_token);
  ids_.reserve(tokens.size());
  add_vocabulary(tokens);
  for (int32_t id : parts.isolated) isolated_.add(tokens[size_t(id)].text, id);
  if (parts.by_score) {
    add_score_merges(tokens);
  } else {
    add_merges(tokens, parts);
  }
}

void BpeModel::add_vocabulary(const std::vector<Token>& tokens) {
  for (size_t id = 0; id < tokens.size(); id++) {
    const Token& token = tokens[id];
    if (token.text.empty() || token.kind != TokenKind::normal) continue;
    ids_[token.text] = int32_t(id);
    if (token.text.size() == 1) byte_ids_[uint8_t(token.text[0])] = int32_t(id);
    if (!bytes_ && utf8_char(token.text) == int(token.text.size())) char_ids_[token.text] = int32_t(id);
  }
}

void BpeModel::add_merges(const std::vector<Token>& tokens, BpeParts& parts) {
  // Merges may lead to tokens that are looked for as well.
  std::unordered_map<std::string, int32_t> others;
  std::string bytes;
  for (size_t id = 0; id < tokens.size(); id++) {
    if (tokens[id].kind == TokenKind::normal || tokens[id].text.empty()) continue;
    if (!bytes_) others.emplace(tokens[id].text, int32_t(id));
    if (bytes_ && from_byte_level(tokens[id].text, bytes)) others.emplace(bytes, int32_t(id));
  }
  for (const auto& [text, id] : others) {
    if (text.size() == 1 && byte_ids_[uint8_t(text[0])] == no_token) byte_ids_[uint8_t(text[0])] = id;
    if (!bytes_ && utf8_char(text) == int(text.size())) char_ids_.emplace(text, id);
  }
  auto find = [&](const std::string& text) {
    if (auto found = ids_.find(text); found != ids_.end()) return found->second;
    auto found = others.find(text);
    return found == others.end() ? no_token : found->second;
  };
  std::string left, right;
  for (size_t rank = 0; rank < parts.merges.size(); rank++) {
    const auto& merge = parts.merges[rank];
    if (!bytes_) {
      left = merge.first;
      right = merge.second;
    } else {
      if (!from_byte_level(merge.first, left)) left.clear();
      if (!from_byte_level(merge.second, right)) right.clear();
    }
    int32_t left_id = find(left), right_id = find(right), joint_id = find(left + right);
    if (left.empty() || right.empty() || left_id < 0 || right_id < 0 || joint_id < 0) {
      if (parts.skip_unknown_merges) continue;
      fail(VKMOE_ERROR_BAD_FILE, origin_, ": merge ", rank, " ('", merge.first, "' '", merge.second,
           "'): one of its parts or their joint text is not in the vocabulary");
    }
    merges_.insert(uint32_t(left_id), uint32_t(right_id), {uint32_t(rank), uint32_t(joint_id)});
    if (!bytes_) neighbours_.add(left + right);
  }
}

void BpeModel::add_score_merges(const std::vector<Token>& tokens) {
  // Equal scores have equal ranks: then the leftmost pair is merged first.
  std::vector<int32_t> order;
  for (const auto& [text, id] : ids_) order.push_back(id);
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return tokens[size_t(a)].score > tokens[size_t(b)].score; });
  std::string left, right;
  auto symbol = [&](const std::string& text) {
    if (auto found = ids_.find(text); found != ids_.end()) return found->second;
    if (bytes_ || utf8_char(text) != int(text.size())) return no_token;
    return char_ids_.try_emplace(text, unnamed_ + int32_t(char_ids_.size())).first->second;
  };
  uint32_t rank = 0;
  for (size_t i = 0; i < order.size(); i++) {
    const std::string& text = tokens[size_t(order[i])].text;
    if (i && tokens[size_t(order[i])].score != tokens[size_t(order[i - 1])].score) rank++;
    if (text.size() > max_scored_bytes)  // the work grows with the square
      fail(VKMOE_ERROR_UNSUPPORTED, origin_, ": token ", order[i], " has ", text.size(), " bytes; at most ",
           max_scored_bytes, " are supported");
    if (!bytes_) neighbours_.add(text);
    for (size_t cut = 1; cut < text.size(); cut++) {
      if (!bytes_ && (uint8_t(text[cut]) & 0xc0) == 0x80) continue;
      left.assign(text, 0, cut);
      right.assign(text, cut);
      int32_t left_id = symbol(left), right_id = symbol(right);
      if (left_id < 0 || right_id < 0) continue;
      merges_.insert(uint32_t(left_id), uint32_t(right_id), {rank, uint32_t(order[i])});
    }
  }
}

// ---- encoding --------------------------------------------------------------------------------------------------

struct BpeModel::Scratch {
  struct Symbol {
    int32_t id;  // no_token: a character that nothing merges with
    uint32_t previous, next;
    uint32_t begin;
  };
  struct Candidate {
    uint32_t rank, left;
    int32_t left_id, right_id;  // stale when the symbols are no longer these
    uint32_t joint;
    // Lowest rank first, leftmost of equals: greatest in the heap.
    bool operator<(const Candidate& o) const { return rank != o.rank ? rank > o.rank : left > o.left; }
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

int32_t BpeModel::char_id(std::string_view c) const {
  if (c.size() == 1 && byte_ids_[uint8_t(c[0])] != no_token) return byte_ids_[uint8_t(c[0])];
  thread_local std::string key;
  key = c;
  auto found = char_ids_.find(key);
  return found == char_ids_.end() ? no_token : found->second;
}

void BpeModel::first_symbols(std::string_view part, Scratch& scratch) const {
  constexpr uint32_t none = UINT32_MAX;
  auto& symbols = scratch.symbols;
  symbols.clear();
  for (size_t at = 0; at < part.size();) {
    int length = bytes_ ? 1 : utf8_char(part.substr(at));
    if (length <= 0) length = 1;
    int32_t id = bytes_ ? byte_ids_[uint8_t(part[at])] : char_id(part.substr(at, size_t(length)));
    if (bytes_ && id == no_token)
      fail(VKMOE_ERROR_UNSUPPORTED, origin_, ": the vocabulary has no token for byte ", int(uint8_t(part[at])));
    uint32_t index = uint32_t(symbols.size());
    symbols.push_back({id, index ? index - 1 : none, index + 1, uint32_t(at)});
    at += size_t(length);
  }
  symbols.back().next = none;
}

void BpeModel::encode_part(std::string_view part, size_t begin, std::vector<int32_t>& ids) const {
  constexpr uint32_t none = UINT32_MAX;
  thread_local Scratch scratch;
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  first_symbols(part, scratch);
  heap.clear();
  auto consider = [&](uint32_t left) {
    int32_t left_id = symbols[left].id, right_id = symbols[symbols[left].next].id;
    const PairMap::Value* merge = merges_.find(uint32_t(left_id), uint32_t(right_id));
    if (!merge || left_id == no_token || right_id == no_token) return false;
    heap.push_back({merge->first, left, left_id, right_id, merge->second});
    return true;
  };
  for (uint32_t i = 0; i + 1 < symbols.size(); i++) consider(i);
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    auto best = heap.back();
    heap.pop_back();
    auto& left = symbols[best.left];
    if (left.id != best.left_id || left.next == none || symbols[left.next].id != best.right_id) continue;
    auto& right = symbols[left.next];
    left.id = int32_t(best.joint);
    left.next = right.next;
    right.id = no_token;  // merged into the one before
    if (left.next != none) {
      symbols[left.next].previous = best.left;
      if (consider(best.left)) std::push_heap(heap.begin(), heap.end());
    }
    if (left.previous != none && consider(left.previous)) std::push_heap(heap.begin(), heap.end());
  }
  for (uint32_t i = 0; i != none; i = symbols[i].next) {
    if (symbols[i].id >= 0 && symbols[i].id < unnamed_) {
      ids.push_back(symbols[i].id);
    } else {
      size_t end = symbols[i].next == none ? part.size() : symbols[symbols[i].next].begin;
      fallback_.append(part.substr(symbols[i].begin, end - symbols[i].begin), begin, ids);
    }
  }
}

void BpeModel::encode_chars(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const {
  size_t begin = ids.size();
  neighbours_.split(word, [&](std::string_view part) {
    if (!fallback_.has_bytes && fallback_.fuse && ids.size() > begin && ids.back() == fallback_.unknown)
      return encode_part(part, begin, ids);  // an unknown may grow
    cache.append(part, ids, [&] { encode_part(part, ids.size(), ids); });
  });
}

void BpeModel::encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const {
  if (ignore_merges_ || (whole_newlines_ && word.find_first_not_of('\n') == word.npos)) {
    thread_local std::string key;
    key = word;
    auto found = ids_.find(key);
    if (found != ids_.end()) return ids.push_back(found->second);
  }
  if (bytes_) return cache.append(word, ids, [&] { encode_part(word, ids.size(), ids); });
  if (isolated_.empty()) return encode_chars(word, cache, ids);
  size_t plain = 0;  // start of the text not yet dealt with
  for (size_t at = 0; at < word.size();) {
    size_t length = 0;
    isolated_.prefixes(word.substr(at), [&](int32_t, size_t bytes) { length = bytes; });
    if (!length) {
      at++;
      continue;
    }
    encode_chars(word.substr(plain, at - plain), cache, ids);
    isolated_.prefixes(word.substr(at), [&](int32_t id, size_t bytes) {
      if (bytes == length) ids.push_back(id);
    });
    plain = at += length;
  }
  encode_chars(word.substr(plain), cache, ids);
}

}  // namespace vkmoe
