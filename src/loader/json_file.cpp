#include "loader/json_file.h"

#include <set>

#include "base/error.h"

namespace vkmoe {

using nlohmann::json;

// Deeper nesting serves nobody and would exhaust the stack of whoever walks it.
static constexpr int max_depth = 200;
static constexpr uint64_t max_bytes = uint64_t(1) << 29;

json parse_json(const uint8_t* text, uint64_t size_bytes, const std::string& name, bool unique_keys) {
  if (size_bytes > max_bytes)
    fail(VKMOE_ERROR_BAD_FILE, name, ": expected at most ", max_bytes, " bytes of JSON, found ", size_bytes);
  std::set<std::string> keys;
  auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > max_depth)
      fail(VKMOE_ERROR_BAD_FILE, name, ": JSON is nested deeper than ", max_depth, " levels");
    if (unique_keys && depth == 1 && event == json::parse_event_t::key &&
        !keys.insert(parsed.get_ref<const std::string&>()).second)
      fail(VKMOE_ERROR_BAD_FILE, name, ": the key '", parsed.get_ref<const std::string&>(), "' stands twice");
    return true;
  };
  try {
    return json::parse(text, text + size_bytes, check);
  } catch (const json::parse_error& error) {
    fail(VKMOE_ERROR_BAD_FILE, name, ": not valid JSON at byte ", error.byte, " of ", size_bytes);
  } catch (const json::exception& error) {
    fail(VKMOE_ERROR_BAD_FILE, name, ": not valid JSON: ", error.what());
  }
}

json parse_json(const MappedFile& file) { return parse_json(file.data(), file.size(), file.path()); }

const json* json_member(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string json_string(const json& object, const char* key, const std::string& name, const std::string& fallback) {
  const json* value = json_member(object, key);
  if (!value) return fallback;
  if (!value->is_string())
    fail(VKMOE_ERROR_BAD_FILE, name, ": '", key, "': expected a string, found ", json_excerpt(*value));
  return value->get<std::string>();
}

bool json_bool(const json& object, const char* key, const std::string& name, bool fallback) {
  const json* value = json_member(object, key);
  if (!value) return fallback;
  if (!value->is_boolean())
    fail(VKMOE_ERROR_BAD_FILE, name, ": '", key, "': expected true or false, found ", json_excerpt(*value));
  return value->get<bool>();
}

std::string json_excerpt(const json& value) {
  if (value.is_structured() && value.size() > 8) return cat("an ", value.type_name(), " of ", value.size());
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace vkmoe
