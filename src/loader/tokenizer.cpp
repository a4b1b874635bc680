#include "loader/tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "loader/json_file.h"
#include "loader/tokenizer_parts.h"
#include "loader/utf8.h"

namespace vkmoe {

std::unique_ptr<Tokenizer> Tokenizer::load(const ModelFile& file) {
  if (file.kind == ModelFile::Kind::gguf) return tokenizer_from_gguf(file);
  if (file.tokenizer.is_null() && !file.sentencepiece.empty()) return tokenizer_from_sentencepiece(file);
  if (file.tokenizer.is_null() && !file.tiktoken.empty()) return tokenizer_from_tiktoken(file);
  return tokenizer_from_json(file);
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids, bool special) const {
  std::string text;
  for (int32_t id : ids) text += token_bytes(id, special);
  return text;
}

std::vector<int32_t> json_ids(const nlohmann::json& object, const char* key, const std::string& name) {
  std::vector<int32_t> ids;
  const nlohmann::json* value = json_member(object, key);
  if (!value) return ids;
  auto add = [&](const nlohmann::json& id) {
    if (!id.is_number_integer() || id < 0 || id > INT32_MAX)
      fail(VKMOE_ERROR_BAD_FILE, name, ": '", key, "': expected a token id, found ", json_excerpt(id));
    ids.push_back(id.get<int32_t>());
  };
  if (!value->is_array()) {
    add(*value);
  } else {
    for (const auto& id : *value) add(id);
  }
  return ids;
}

void add_end_id(Tokenizer& tokenizer, int32_t id) {
  auto& ids = tokenizer.end_ids;
  if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  // Only the last character can be incomplete, and it then has at most 3 bytes.
  size_t whole = pending_.size();
  for (size_t back = 1; back <= 3 && back <= pending_.size(); back++) {
    size_t at = pending_.size() - back;
    if ((uint8_t(pending_[at]) & 0xc0) == 0x80) continue;
    if (utf8_char(std::string_view(pending_).substr(at)) == -1) whole = at;
    break;
  }
  std::string ready = pending_.substr(0, whole);
  pending_.erase(0, whole);
  return ready;
}

std::string Utf8Stream::flush() {
  std::string rest;
  rest.swap(pending_);
  return rest;
}

}  // namespace vkmoe
