// Cuts text into the words that a tokenizer's model works within: steps as the pre-tokenizers of `tokenizers`, each
// applied to the pieces that the one before has left. Used by the tokenizers.
#pragma once
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "loader/regex.h"

namespace vkmoe {

struct Piece {
  std::string_view text;
  bool first;           // starts where the whole text starts
  bool valid = true;    // is UTF-8
  bool joined = false;  // belongs to the piece before, from which it was cut because only one of them is UTF-8
};

using Arena = std::deque<std::string>;  // owns text that is not the caller's

// GPT-2's byte-level characters, each of which stands for one byte.
std::string to_byte_level(std::string_view bytes);
bool from_byte_level(std::string_view text, std::string& bytes);  // false where a character stands for no byte

extern const char punctuation_pattern[];  // a character that is_punctuation()
extern const char gpt2_pattern[];  // GPT-2's pre-tokenizer, the default of ByteLevel

class PreTokenizer {
 public:
  enum class Behavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };
  enum class Prepend { never, first, always };

  // Cuts at the matches, of which `behavior` says where they go; `inverted`: what is no match counts as one.
  void add_split(Regex regex, Behavior behavior = Behavior::isolated, bool inverted = false);
  // Writes spaces as `symbol`, puts one in front where there is none, and cuts before each of them if `cut`.
  void add_metaspace(const std::string& symbol, Prepend prepend, bool cut);
  void add_space_prefix();
  // Later steps see byte-level characters. Pieces come out as bytes all the same.
  void add_byte_level();

  // Appends pieces of the text, any bytes. A run of bytes that are no UTF-8 is its own piece. first: the text starts
  // where the whole one starts.
  void split(std::string_view text, bool first, Arena& arena, std::vector<Piece>& pieces) const;

 private:
  using Step = std::function<void(const Piece& piece, Arena& arena, std::vector<Piece>& pieces)>;
  void add(Step step);
  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace vkmoe
