#include "loader/json_pipeline.h"

namespace vkmoe {

using nlohmann::json;

std::string JsonPipeline::type_of(const json& part, const char* key) const {
  std::string type = json_string(part, "type", origin);
  if (type.empty()) bad(key, ": expected an object with a type, found ", json_excerpt(part));
  return type;
}

const json& JsonPipeline::list(const json& part, const char* key) const {
  const json* value = json_member(part, key);
  if (!value || !value->is_array()) bad("expected an array '", key, "'");
  return *value;
}

std::string JsonPipeline::text(const json& part, const char* key, const std::string& fallback) const {
  return json_string(part, key, origin, fallback);
}

bool JsonPipeline::flag(const json& part, const char* key, bool fallback) const {
  return json_bool(part, key, origin, fallback);
}

Regex JsonPipeline::pattern(const json& part, const char* what) const {
  const json* pattern = json_member(part, "pattern");
  if (!pattern) bad(what, ": expected a pattern, found none");
  std::string regex = text(*pattern, "Regex"), literal = text(*pattern, "String");
  if (!regex.empty()) return Regex(regex, origin);
  if (!literal.empty()) return Regex::literal(literal, origin);
  bad(what, ": expected a pattern Regex or String, found ", json_excerpt(*pattern));
}

// ---- normalizers -----------------------------------------------------------------------------------------------

// Three of four bits each; other characters are skipped, as MIME has it.
static std::string from_base64(const std::string& text) {
  std::string bytes;
  uint32_t bits = 0, count = 0;
  for (char c : text) {
    uint32_t value = c >= 'A' && c <= 'Z'   ? uint32_t(c - 'A')
                     : c >= 'a' && c <= 'z' ? uint32_t(c - 'a' + 26)
                     : c >= '0' && c <= '9' ? uint32_t(c - '0' + 52)
                     : c == '+'             ? 62u
                     : c == '/'             ? 63u
                                            : 64u;
    if (value == 64) continue;
    bits = bits << 6 | value;
    if ((count += 6) >= 8) bytes += char(bits >> (count -= 8));
  }
  return bytes;
}

void JsonPipeline::strip(const json& part) {
  bool left = flag(part, "strip_left", true), right = flag(part, "strip_right", true);
  parts.normalizer.add([left, right](std::string& text) {
    if (right) text.resize(text.size() - trailing_space(text));
    if (left) text.erase(0, leading_space(text));
  });
}

// SentencePiece's "nmt": characters without a meaning go, kinds of white space become spaces.
static void add_nmt(Normalizer& normalizer) {
  normalizer.add([](std::string& text) {
    std::string out;
    for_each_char(text, [&](uint32_t c, std::string_view bytes) {
      bool gone = (c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f;
      bool space = c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
                   c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || (c == 0xfffd && bytes.size() == 3);
      if (space) {
        out += ' ';
      } else if (!gone) {
        out += bytes;
      }
    });
    text.swap(out);
  });
}

void JsonPipeline::normalizer(const json& part) {
  std::string type = type_of(part, "normalizer");
  Normalizer& steps = parts.normalizer;
  if (type == "Sequence") {
    for (const json& step : list(part, "normalizers")) normalizer(step);
  } else if (type == "NFC") {
    steps.add_form(NormalForm::nfc);
  } else if (type == "NFD") {
    steps.add_form(NormalForm::nfd);
  } else if (type == "NFKC") {
    steps.add_form(NormalForm::nfkc);
  } else if (type == "NFKD") {
    steps.add_form(NormalForm::nfkd);
  } else if (type == "Lowercase") {
    steps.add([](std::string& text) { text = lower_case(text); });
  } else if (type == "StripAccents") {
    steps.add([](std::string& text) {
      std::string out;
      for_each_char(text, [&](uint32_t c, std::string_view bytes) { out += is_mark(c) ? "" : bytes; });
      text.swap(out);
    });
  } else if (type == "Strip") {
    strip(part);
  } else if (type == "Replace") {
    steps.add_replace(pattern(part, "normalizer Replace"), text(part, "content"));
  } else if (type == "Prepend") {
    std::string prefix = text(part, "prepend");
    steps.add([prefix](std::string& text) {
      if (!text.empty()) text.insert(0, prefix);
    });
  } else if (type == "Precompiled") {
    steps.add_charsmap(Charsmap(from_base64(text(part, "precompiled_charsmap")), origin));
  } else if (type == "Nmt") {
    add_nmt(steps);
  } else if (type == "BertNormalizer") {
    bool lower = flag(part, "lowercase", true);
    steps.add_bert(flag(part, "clean_text", true), flag(part, "handle_chinese_chars", true),
                   flag(part, "strip_accents", lower), lower);
  } else {
    unsupported("normalizer ", type);
  }
}

// ---- pre-tokenizers --------------------------------------------------------------------------------------------

PreTokenizer::Behavior JsonPipeline::behavior(const json& part, const std::string& type) const {
  using Behavior = PreTokenizer::Behavior;
  std::string name = text(part, "behavior", "Isolated");
  if (name == "Isolated") return Behavior::isolated;
  if (name == "Removed") return Behavior::removed;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  unsupported("pre_tokenizer ", type, " with behavior ", name);
}

PreTokenizer::Prepend JsonPipeline::prepend(const json& part) const {
  using Prepend = PreTokenizer::Prepend;
  std::string scheme = text(part, "prepend_scheme", flag(part, "add_prefix_space", true) ? "always" : "never");
  if (scheme == "always") return Prepend::always;
  if (scheme == "first") return Prepend::first;
  if (scheme != "never") unsupported("Metaspace with prepend_scheme ", scheme);
  return Prepend::never;
}

void JsonPipeline::byte_level_step(const json& part) {
  if (flag(part, "add_prefix_space", true)) parts.pre_tokenizer.add_space_prefix();
  if (flag(part, "use_regex", true)) parts.pre_tokenizer.add_split(Regex(gpt2_pattern, origin));
  byte_level = true;
}

void JsonPipeline::pre_tokenizer(const json& part) {
  using Behavior = PreTokenizer::Behavior;
  std::string type = type_of(part, "pre_tokenizer");
  PreTokenizer& steps = parts.pre_tokenizer;
  if (type == "Sequence") {
    for (const json& step : list(part, "pretokenizers")) pre_tokenizer(step);
    return;
  }
  // What stands for bytes from there on must go on doing so.
  if (byte_level && (type == "ByteLevel" || type == "Metaspace")) unsupported("pre_tokenizer ", type, " after ByteLevel");
  if (byte_level) steps.add_byte_level();
  if (type == "Split") {
    steps.add_split(pattern(part, "pre_tokenizer Split"), behavior(part, type), flag(part, "invert", false));
  } else if (type == "Digits") {
    steps.add_split(Regex(flag(part, "individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)", origin));
  } else if (type == "Punctuation") {
    steps.add_split(Regex(punctuation_pattern, origin), behavior(part, type));
  } else if (type == "Whitespace") {
    // Rust's \w: no other numbers than digits and letter-like ones.
    const char word[] = "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"
                        "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}]";
    steps.add_split(Regex(cat(word, "+|(?:(?!", word, ")\\S)+"), origin), Behavior::removed, true);
  } else if (type == "WhitespaceSplit") {
    steps.add_split(Regex(R"(\s)", origin), Behavior::removed);
  } else if (type == "BertPreTokenizer") {
    steps.add_split(Regex(R"(\s)", origin), Behavior::removed);
    steps.add_split(Regex(punctuation_pattern, origin));
  } else if (type == "CharDelimiterSplit") {
    steps.add_split(Regex::literal(text(part, "delimiter"), origin), Behavior::removed);
  } else if (type == "Metaspace") {
    std::string symbol = text(part, "replacement", space_symbol);
    if (symbol.empty()) bad("Metaspace: the replacement is empty");
    steps.add_metaspace(symbol, prepend(part), flag(part, "split", true));
  } else if (type == "ByteLevel") {
    byte_level_step(part);
  } else {
    unsupported("pre_tokenizer ", type);
  }
}

// ---- decoders --------------------------------------------------------------------------------------------------

// What token_bytes() needs to know of them: whether U+2581 is a space, and whether the first space goes.
void JsonPipeline::decoder(const json& part) {
  std::string type = type_of(part, "decoder");
  if (type == "Sequence") {
    for (const json& step : list(part, "decoders")) decoder(step);
  } else if (type == "Metaspace") {
    if (text(part, "replacement", space_symbol) != space_symbol)
      unsupported("decoder Metaspace with another replacement than U+2581");
    parts.space_symbol = true;
    parts.strip_first_space = prepend(part) != PreTokenizer::Prepend::never;
  } else if (type == "Replace") {
    const json* pattern = json_member(part, "pattern");
    if (!pattern || text(*pattern, "String") != space_symbol || text(part, "content") != " ")
      unsupported("decoder Replace of ", pattern ? json_excerpt(*pattern) : "nothing", ", other than U+2581 by a space");
    parts.space_symbol = true;
  } else if (type == "Strip") {
    const json *start = json_member(part, "start"), *stop = json_member(part, "stop");
    if (text(part, "content", " ") != " " || (stop && *stop != 0) || (start && *start != 0 && *start != 1))
      unsupported("decoder Strip of more than one space at the start");
    parts.strip_first_space = start && *start == 1;
  } else if (type != "ByteLevel" && type != "ByteFallback" && type != "Fuse" && type != "WordPiece") {
    unsupported("decoder ", type);
  }
}

}  // namespace vkmoe
