#include "loader/pre_tokenizer.h"

#include <array>

#include "base/error.h"
#include "loader/utf8.h"

namespace vkmoe {

const char gpt2_pattern[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

const char punctuation_pattern[] = R"([\p{P}$+<=>^`|~])";

namespace {

constexpr size_t max_steps = 64;

// GPT-2 writes byte b as one printable character: itself, or U+0100 + n for the n-th byte that is not printable.
struct ByteLevel {
  std::array<int16_t, 0x144> byte_of;
  std::array<std::string, 256> text_of;

  ByteLevel() {
    byte_of.fill(-1);
    int others = 0;
    for (int b = 0; b < 256; b++) {
      bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      uint32_t c = uint32_t(printable ? b : 0x100 + others++);
      byte_of[c] = int16_t(b);
      append_utf8(text_of[size_t(b)], c);
    }
  }
};
const ByteLevel byte_level;

Piece part(const Piece& whole, size_t begin, size_t end) {
  return {whole.text.substr(begin, end - begin), whole.first && begin == 0, whole.valid, whole.joined && begin == 0};
}

struct Range {
  size_t begin, end;
  bool match;
};

// tokenizers' SplitDelimiterBehavior, over ranges that cover the text.
void merge(std::vector<Range>& ranges, PreTokenizer::Behavior behavior) {
  using Behavior = PreTokenizer::Behavior;
  std::vector<Range> kept;
  bool previous = false, pending = false;  // the last range was a match; the last kept awaits what follows it
  for (const Range& range : ranges) {
    bool extend = false, drop = behavior == Behavior::removed && range.match;
    if (behavior == Behavior::contiguous) extend = range.match == previous && !kept.empty();
    if (behavior == Behavior::merged_with_previous) extend = range.match && !previous && !kept.empty();
    if (behavior == Behavior::merged_with_next) extend = !range.match && pending;
    if (extend) {
      kept.back().end = range.end;
    } else if (!drop) {
      kept.push_back(range);
    }
    previous = pending = range.match;
  }
  ranges.swap(kept);
}

}  // namespace

std::string to_byte_level(std::string_view bytes) {
  std::string text;
  for (char c : bytes) text += byte_level.text_of[uint8_t(c)];
  return text;
}

bool from_byte_level(std::string_view text, std::string& bytes) {
  bytes.clear();
  while (!text.empty()) {
    uint32_t code_point;
    int length = utf8_char(text, &code_point);
    if (length <= 0 || code_point >= byte_level.byte_of.size() || byte_level.byte_of[code_point] < 0) return false;
    bytes += char(byte_level.byte_of[code_point]);
    text.remove_prefix(size_t(length));
  }
  return true;
}

void PreTokenizer::add(Step step) {
  if (steps_.size() >= max_steps) fail(VKMOE_ERROR_UNSUPPORTED, "a pre-tokenizer of more than ", max_steps, " steps");
  steps_.push_back(std::move(step));
}

void PreTokenizer::add_split(Regex regex, Behavior behavior, bool inverted) {
  add([regex = std::move(regex), behavior, inverted](const Piece& piece, Arena&, std::vector<Piece>& pieces) {
    if (!piece.valid) return pieces.push_back(piece);
    auto emit = [&](size_t begin, size_t end) {
      if (end > begin) pieces.push_back(part(piece, begin, end));
    };
    size_t at = 0;
    if (behavior == Behavior::isolated) {
      regex.for_each_match(piece.text, [&](size_t begin, size_t end) {
        emit(at, begin);
        emit(begin, end);
        at = end;
      });
      return emit(at, piece.text.size());
    }
    std::vector<Range> ranges;
    regex.for_each_match(piece.text, [&](size_t begin, size_t end) {
      if (begin > at) ranges.push_back({at, begin, inverted});
      ranges.push_back({begin, end, !inverted});
      at = end;
    });
    if (at < piece.text.size()) ranges.push_back({at, piece.text.size(), inverted});
    merge(ranges, behavior);
    for (const Range& range : ranges) emit(range.begin, range.end);
  });
}

void PreTokenizer::add_metaspace(const std::string& symbol, Prepend prepend, bool cut) {
  add([=](const Piece& piece, Arena& arena, std::vector<Piece>& pieces) {
    std::string text;
    text.reserve(piece.text.size() + piece.text.size() / 2 + symbol.size());
    bool starts = piece.text.empty() || piece.text[0] == ' ' || piece.text.substr(0, symbol.size()) == symbol;
    if (!starts && !piece.joined && (prepend == Prepend::always || (prepend == Prepend::first && piece.first)))
      text = symbol;
    for (char c : piece.text) {
      if (c == ' ') {
        text += symbol;
      } else {
        text += c;
      }
    }
    arena.push_back(std::move(text));
    Piece whole{arena.back(), piece.first, piece.valid, piece.joined};
    if (!cut) return pieces.push_back(whole);
    for (size_t begin = 0; begin < whole.text.size();) {
      size_t end = std::min(whole.text.find(symbol, begin + 1), whole.text.size());
      pieces.push_back(part(whole, begin, end));
      begin = end;
    }
  });
}

void PreTokenizer::add_space_prefix() {
  add([](const Piece& piece, Arena& arena, std::vector<Piece>& pieces) {
    if (piece.joined || piece.text[0] == ' ') return pieces.push_back(piece);
    arena.push_back(" ");
    arena.back() += piece.text;
    pieces.push_back({arena.back(), piece.first, piece.valid, piece.joined});
  });
}

void PreTokenizer::add_byte_level() {
  if (byte_level_) return;
  byte_level_ = true;
  add([](const Piece& piece, Arena& arena, std::vector<Piece>& pieces) {
    arena.push_back(to_byte_level(piece.text));
    pieces.push_back({arena.back(), piece.first, true, piece.joined});
  });
}

void PreTokenizer::split(std::string_view text, bool first, Arena& arena, std::vector<Piece>& pieces) const {
  std::vector<Piece> from, to;
  bool joined = false;
  while (!text.empty()) {
    size_t length = utf8_valid_bytes(text);
    bool valid = length > 0;
    while (!valid && length < text.size() && utf8_char(text.substr(length)) <= 0) length++;
    to.assign(1, {text.substr(0, length), first, valid, joined});
    text.remove_prefix(length);
    first = false;
    joined = true;
    for (const Step& step : steps_) {
      from.swap(to);
      to.clear();
      for (const Piece& piece : from) step(piece, arena, to);
    }
    pieces.insert(pieces.end(), to.begin(), to.end());
  }
  if (!byte_level_) return;
  for (Piece& piece : pieces) {
    arena.emplace_back();
    from_byte_level(piece.text, arena.back());
    piece.text = arena.back();
  }
}

}  // namespace vkmoe
