// Readers of the two kinds of tokenizer source. Used by tokenizer.cpp only.
#pragma once
#include <memory>

#include "loader/tokenizer.h"

namespace vkmoe {

std::unique_ptr<Tokenizer> tokenizer_from_json(const ModelFile& file);
std::unique_ptr<Tokenizer> tokenizer_from_gguf(const ModelFile& file);

extern const char gpt2_pattern[];  // GPT-2's pre-tokenizer, the default of ByteLevel

// A member that is one id or an array of ids, each in [0, 2^31); empty where it is missing or null.
std::vector<int32_t> json_ids(const nlohmann::json& object, const char* key, const std::string& name);

void add_end_id(Tokenizer& tokenizer, int32_t id);  // unless it is there

}  // namespace vkmoe
