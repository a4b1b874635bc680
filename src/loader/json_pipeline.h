// The normalizers, pre-tokenizers and decoders of a tokenizer.json. Used by tokenizer_json.cpp.
#pragma once
#include <string>

#include "base/error.h"
#include "loader/json_file.h"
#include "loader/text_tokenizer.h"

namespace vkmoe {

// Each function reads one part, whose "type" says what it is, into `parts`. They fail with VKMOE_ERROR_UNSUPPORTED and
// the part's name where it is not known, with VKMOE_ERROR_BAD_FILE where it contradicts itself.
struct JsonPipeline {
  std::string origin;
  TokenizerParts parts;
  bool byte_level = false;  // the pre-tokenizer gives byte-level characters

  explicit JsonPipeline(const std::string& origin) : origin(origin) {}
  void normalizer(const nlohmann::json& part);
  void pre_tokenizer(const nlohmann::json& part);
  void decoder(const nlohmann::json& part);

  template <class... What>
  [[noreturn]] void unsupported(const What&... what) const {
    fail(VKMOE_ERROR_UNSUPPORTED, origin, ": ", what..., " is not supported");
  }
  template <class... What>
  [[noreturn]] void bad(const What&... what) const {
    fail(VKMOE_ERROR_BAD_FILE, origin, ": ", what...);
  }
  std::string type_of(const nlohmann::json& part, const char* key) const;
  const nlohmann::json& list(const nlohmann::json& part, const char* key) const;

 private:
  std::string text(const nlohmann::json& part, const char* key, const std::string& fallback = "") const;
  bool flag(const nlohmann::json& part, const char* key, bool fallback) const;
  Regex pattern(const nlohmann::json& part, const char* what) const;
  PreTokenizer::Behavior behavior(const nlohmann::json& part, const std::string& type) const;
  PreTokenizer::Prepend prepend(const nlohmann::json& part) const;
  void strip(const nlohmann::json& part);
  void byte_level_step(const nlohmann::json& part);
};

}  // namespace vkmoe
