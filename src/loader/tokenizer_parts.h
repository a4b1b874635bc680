// Readers of the two kinds of tokenizer source. Used by tokenizer.cpp only.
#pragma once
#include <memory>

#include "loader/text_tokenizer.h"

namespace vkmoe {

class GgufHeader;

std::unique_ptr<Tokenizer> tokenizer_from_json(const ModelFile& file);
std::unique_ptr<Tokenizer> tokenizer_from_gguf(const ModelFile& file);
std::unique_ptr<Tokenizer> tokenizer_from_sentencepiece(const ModelFile& file);
std::unique_ptr<Tokenizer> tokenizer_from_tiktoken(const ModelFile& file);

// Pieces, types, scores and normalization of tokenizer.model as keys of a GGUF, filled up to vocab.
void set_sentencepiece(const ModelFile& folder, uint32_t vocab, GgufHeader& header);
// Tokens of tiktoken's ranks, and the merges that follow from them, as keys of a GGUF, filled up to vocab.
void set_tiktoken(const ModelFile& folder, const std::vector<Token>& tokens, uint32_t vocab, GgufHeader& header);

// What a model folder's configuration says.
struct FolderConfig {
  std::string bos_text, eos_text;
  int32_t bos = -1, eos = -1;
  bool add_bos = false;
};
// bos_text, adds_bos: the tokenizer's own, where the configuration is silent.
FolderConfig read_folder_config(const ModelFile& file, const std::vector<Token>& tokens, const std::string& bos_text,
                                bool adds_bos);
// Tokens that transformers adds, as {"32000": {"content": "<|user|>", "special": true}} in tokenizer_config.json.
void read_added_tokens(const nlohmann::json& config, const std::string& origin, std::vector<Token>& tokens);
void finish_tokenizer(Tokenizer& tokenizer, const ModelFile& file, const FolderConfig& config);
int32_t find_token(const std::vector<Token>& tokens, const std::string& text);  // -1: none

// ggml's token types.
enum { type_normal = 1, type_unknown, type_control, type_user_defined, type_unused, type_byte };

// A pre-tokenizer of byte-level BPE by its name in a GGUF.
struct PreRule {
  std::vector<const char*> names;
  std::vector<const char*> patterns;
  bool ignore_merges = false, add_bos = false;
  bool spaces = false;          // of BPE over characters, in which U+2581 is a space
  bool whole_newlines = false;  // a run of newlines that is a token is not merged
};
const PreRule& find_pre_rule(const std::string& name, const std::string& path);
// The name of the one that cuts text as `own` does, shown on text with all that they differ in. `origin`: own's file.
std::string find_pre_name(const PreTokenizer& own, bool ignore_merges, const std::string& origin);

// A WordPieceModel of parts.tokens, which then show with a space before those that begin a word.
void wordpiece_model(TokenizerParts& parts, const std::vector<bool>& begins, int32_t unknown, size_t max_chars);

// A member that is one id or an array of ids, each in [0, 2^31); empty where it is missing or null.
std::vector<int32_t> json_ids(const nlohmann::json& object, const char* key, const std::string& name);

void add_end_id(Tokenizer& tokenizer, int32_t id);  // unless it is there

}  // namespace vkmoe
