// A Hugging Face folder's tokenizer as keys of a GGUF. Called by moe/gguf_export.cpp.
#pragma once
#include "loader/gguf_writer.h"
#include "loader/model_file.h"

namespace vkmoe {

// Sets tokenizer.ggml.* and tokenizer.chat_template, with a token for each of the model's `vocab` ids, as llama.cpp's
// converter does. Fails with VKMOE_ERROR_UNSUPPORTED where a GGUF cannot say what the tokenizer does.
void set_tokenizer(const ModelFile& folder, uint32_t vocab, GgufHeader& header);

}  // namespace vkmoe
