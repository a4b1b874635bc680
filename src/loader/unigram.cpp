#include "loader/unigram.h"

#include <cmath>

namespace vkmoe {

constexpr size_t max_whole_bytes = 1 << 16;

void Neighbours::add(std::string_view token) {
  uint32_t before = 0;
  bool first = true;
  while (!token.empty()) {
    uint32_t c = 0;
    int length = utf8_char(token, &c);
    if (length <= 0) length = 1, c = 0xdc00 + uint8_t(token[0]);
    if (!first) {
      uint64_t h = hash(before, c);
      bits_[h >> 6] |= uint64_t(1) << (h & 63);
    }
    before = c;
    first = false;
    token.remove_prefix(size_t(length));
  }
}

UnigramModel::UnigramModel(const std::vector<std::string_view>& texts, std::vector<double> scores, Fallback fallback,
                           double unknown_score)
    : scores_(std::move(scores)), fallback_(fallback), unknown_score_(unknown_score) {
  for (size_t id = 0; id < texts.size(); id++) {
    if (texts[id].empty() || !(scores_[id] > -INFINITY)) continue;
    trie_.add(texts[id], int32_t(id));
    neighbours_.add(texts[id]);
  }
}

void UnigramModel::encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const {
  size_t begin = ids.size();
  // Whole, since equal scores are told apart by how their sums round; but with bounded memory.
  if (word.size() <= max_whole_bytes) return cache.append(word, ids, [&] { encode_part(word, begin, ids); });
  neighbours_.split(word, [&](std::string_view part) {
    if (!fallback_.has_bytes && ids.size() > begin && ids.back() == fallback_.unknown)
      return encode_part(part, begin, ids);  // an unknown may grow
    cache.append(part, ids, [&] { encode_part(part, ids.size(), ids); });
  });
}

void UnigramModel::encode_part(std::string_view part, size_t begin, std::vector<int32_t>& ids) const {
  struct Best {
    double score = -INFINITY;
    uint32_t start = 0;
    int32_t id = -1;
  };
  thread_local std::vector<Best> best;  // by end
  best.assign(part.size() + 1, {});
  best[0].score = 0;
  for (size_t at = 0; at < part.size();) {
    int length = utf8_char(part.substr(at));
    if (length <= 0) length = 1;
    double score = best[at].score;
    bool single = false;
    auto offer = [&](int32_t id, size_t bytes, double token_score) {
      Best& end = best[at + bytes];
      if (end.id == -1 || score + token_score > end.score) end = {score + token_score, uint32_t(at), id};
    };
    trie_.prefixes(part.substr(at), [&](int32_t id, size_t bytes) {
      offer(id, bytes, scores_[size_t(id)]);
      single = single || bytes == size_t(length);
    });
    if (!single) offer(-2, size_t(length), unknown_score_);
    at += size_t(length);
  }
  thread_local std::vector<std::pair<uint32_t, uint32_t>> path;
  path.clear();
  for (uint32_t end = uint32_t(part.size()); end > 0; end = best[end].start) path.emplace_back(best[end].start, end);
  for (size_t i = path.size(); i-- > 0;) {
    auto [from, to] = path[i];
    if (best[to].id >= 0 && best[to].id != fallback_.unknown) {
      ids.push_back(best[to].id);
    } else {
      fallback_.append(part.substr(from, to - from), begin, ids);
    }
  }
}

}  // namespace vkmoe
