// JSON from files that are not trusted: bounded depth, errors that name file and place. Used by the loader only.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/mapped_file.h"

namespace vkmoe {

// Fails with VKMOE_ERROR_BAD_FILE. `name` stands for the text in messages. unique_keys: a key that stands twice in
// the outermost object is an error.
nlohmann::json parse_json(const uint8_t* text, uint64_t size_bytes, const std::string& name,
                          bool unique_keys = false);
nlohmann::json parse_json(const MappedFile& file);

// The member, or nullptr where it is missing, null, or `object` is no object.
const nlohmann::json* json_member(const nlohmann::json& object, const char* key);

// Members with a given type: the fallback where they are missing or null, VKMOE_ERROR_BAD_FILE where they have
// another type. `name` is the file.
std::string json_string(const nlohmann::json& object, const char* key, const std::string& name,
                        const std::string& fallback = "");
bool json_bool(const nlohmann::json& object, const char* key, const std::string& name, bool fallback);

// For messages: the value as text, cut after some 60 characters.
std::string json_excerpt(const nlohmann::json& value);

}  // namespace vkmoe
