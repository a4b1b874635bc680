// What a name in a GGUF's tokenizer.ggml.pre stands for: the patterns of the models' own tokenizers; names and defaults
// are llama.cpp's. Used by tokenizer_gguf.cpp.
#include "base/error.h"
#include "loader/tokenizer_parts.h"

namespace vkmoe {

namespace {

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s+(?!\\S)|\\s+"
#define LINES "\\s*[\\r\\n]+|" SPACES
// As Llama-3's, with DIGITS digits at a time.
#define LLAMA(DIGITS) \
  CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" DIGITS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" LINES
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
// As GPT-4o's: words cut where a capital follows. LESS is taken from the letters, ENDING may follow a word.
#define CASED(LESS, ENDING, DIGITS, LINE_ENDS)                                                                \
  "[^\\r\\n\\p{L}\\p{N}]?" UPPER LESS "]*" LOWER LESS "]+" ENDING "|[^\\r\\n\\p{L}\\p{N}]?" UPPER LESS "]+" LOWER LESS \
  "]*" ENDING "|" DIGITS "| ?[^\\s\\p{L}\\p{N}]+" LINE_ENDS "|" LINES
#define GPT4O CASED("", CONTRACTIONS "?", "\\p{N}{1,3}", "[\\r\\n/]*")
#define THREE_FROM_THE_RIGHT "\\d{1,3}(?=(?:\\d{3})*\\b)"

const char deepseek_letters[] =
    R"(\s?[A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293}\x{295}-)"
    R"(\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-)"
    R"(\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-)"
    R"(\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77})"
    R"(\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-)"
    R"(\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-)"
    R"(\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4})"
    R"(\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128})"
    R"(\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184})"
    R"(\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-)"
    R"(\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06})"
    R"(\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-)"
    R"(\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+)";
const char deepseek_punctuation[] =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";
const char deepseek_cjk[] = R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";
const char deepseek3_cjk[] = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
#define DEEPSEEK3_WORDS                                                                      \
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+" \
  "| ?[\\p{P}\\p{S}]+"
const char deepseek3_words[] = DEEPSEEK3_WORDS "[\\r\\n]*|" LINES;
const char newlines[] = "[^\\n]+|[\\n]+";
const char bloom[] = " ?[^(\\s|.,!?\xe2\x80\xa6\xe3\x80\x82\xef\xbc\x8c\xe3\x80\x81\xe0\xa5\xa4\xdb\x94\xd8\x8c)]+";
const char afmoe_scripts[] =
    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}"
    "\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{e7f}\\x{e80}-\\x{eff}\\x{1780}-\\x{17ff}"
    "\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+";
const char youtu_scripts[] =
    "[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}\\x{2019}\\x{2014}"
    "\\x{ff1a}\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|[\\x{3105}-\\x{312f}]+|"
    "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+";

}  // namespace

static const std::vector<PreRule>& pre_rules() {
  static const std::vector<PreRule> rules = {
      {{"default"}, {R"([\p{P}\$\+<=>\^~\|]+)", gpt2_pattern, R"(\p{N}+)", R"([0-9][0-9][0-9])"}},
      {{"gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion", "granite-docling", "jina-es", "jina-de", "jina-v2-es",
        "jina-v2-de", "jina-v1-en", "jina-v2-code", "roberta-bpe", "gigachat", "a.x-4.0", "mellum", "modern-bert",
        "exaone4"},
       {gpt2_pattern}},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"},
       {LLAMA("\\p{N}{1,3}")}, true, true},
      {{"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, {LLAMA("\\p{N}{1,3}")}},
      {{"minicpm5"}, {R"(\p{N}{1,3})", LLAMA("\\p{N}+")}, true},
      {{"jais-2"},
       {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
        "\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|"
        "\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}"}},
      {{"qwen2", "stablelm2", "deepseek-r1-qwen", "hunyuan", "solar-open", "grok-2", "megrez", "kormo", "f2llmv2"},
       {LLAMA("\\p{N}")}},
      {{"qwen35"},
       {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" LINES}},
      {{"laguna"}, {newlines, LLAMA("\\p{N}")}},
      {{"ufakzeka"}, {"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" LINES}},
      {{"seed-coder"}, {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" LINES}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"},
       {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|"
        SPACES}},
      {{"exaone-moe"},
       {CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|"
        "\\s*[\\r\\n]|" SPACES}},
      {{"gpt-4o", "llama4", "minimax-m2", "kanana2", "talkie"}, {GPT4O}},
      {{"granite-embed-multi-97m"}, {GPT4O}, true},
      {{"tiny_aya", "cohere2moe"}, {THREE_FROM_THE_RIGHT, GPT4O}},
      {{"tekken"}, {CASED("", "", "\\p{N}", "[\\r\\n/]*")}, true, true},
      {{"kimi-k2"},
       {"\\p{Han}+|" CASED("&&[^\\p{Han}]", CONTRACTIONS "?", "\\p{N}{1,3}", "[\\r\\n]*")}},
      {{"youtu"}, {youtu_scripts, CASED("", CONTRACTIONS "?", "\\p{N}", "[\\r\\n/]*")}, true},
      {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
       {R"(\p{N})", gpt2_pattern}},
      {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", gpt2_pattern, R"([0-9][0-9][0-9])"}},
      {{"chameleon"},
       {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
        "[\\p{P}!-/:-@\\[-`{-~]", gpt2_pattern},
       false, true},
      {{"bloom", "poro-chat", "gpt3-finnish"}, {bloom}},
      {{"viking"}, {bloom, R"(\p{N})"}},
      {{"superbpe"}, {R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}},
      {{"deepseek-llm"},
       {R"([\r\n])", deepseek_letters, deepseek_punctuation, R"(\s+$)", deepseek_cjk, R"(\p{N}+)"}},
      {{"deepseek-coder"}, {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", deepseek_cjk, R"(\p{N})"}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, {R"(\p{N}{1,3})", deepseek3_cjk, deepseek3_words}},
      {{"spark2_5"}, {R"(\p{N}{1,3})", deepseek3_cjk, DEEPSEEK3_WORDS "|[\\r\\n]|" SPACES, R"(\p{N})"}},
      {{"afmoe"}, {THREE_FROM_THE_RIGHT, afmoe_scripts, deepseek3_words}},
      {{"gemma4", "granite-embed-multi-311m"}, {newlines}, false, false, true, true},
      {{"sarvam-moe"}, {newlines}, false, false, true},
  };
  return rules;
}

std::string find_pre_name(const PreTokenizer& own, bool ignore_merges, const std::string& origin) {
  // Every sequence of three of these stands in the text.
  const char* const atoms[] = {"a",      "B", "ll", "RE",     "s", "\u00e9", "\u044f", "\u4e2d", "\u304b", "\uac00",
                               "\u05d0", "1", "23", "\u00bd", " ", "  ",     "\t",     "\n",     "\r\n",   "\u00a0",
                               "\u0301", "'", "!",  "/",      "_", "-",      "$",      "+",      "\u3002", "\U0001f600"};
  std::string text;
  for (const char* a : atoms)
    for (const char* b : atoms)
      for (const char* c : atoms) text += std::string(a) + b + c;
  auto cuts = [&](const PreTokenizer& cutter) {
    Arena arena;
    std::vector<Piece> pieces;
    cutter.split(text, true, arena, pieces);
    std::vector<std::string> texts;
    for (const Piece& piece : pieces) texts.emplace_back(piece.text);
    return texts;
  };
  const std::vector<std::string> expected = cuts(own);
  for (const PreRule& rule : pre_rules()) {
    if (rule.ignore_merges != ignore_merges || rule.spaces) continue;
    PreTokenizer other;
    for (const char* pattern : rule.patterns) other.add_split(Regex(pattern, origin));
    if (cuts(other) == expected) return rule.names[0];
  }
  fail(VKMOE_ERROR_UNSUPPORTED, origin, ": no pre-tokenizer that GGUF has a name for cuts text as this one",
       ignore_merges ? " (with ignore_merges)" : "");
}

const PreRule& find_pre_rule(const std::string& name, const std::string& path) {
  for (const PreRule& rule : pre_rules())
    for (const char* known : rule.names)
      if (name == known) return rule;
  fail(VKMOE_ERROR_UNSUPPORTED, path, ": key 'tokenizer.ggml.pre': pre-tokenizer '", name, "' is not supported");
}

}  // namespace vkmoe
