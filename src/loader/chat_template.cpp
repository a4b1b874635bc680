#include "loader/chat_template.h"

#include <ctime>

#include "loader/jinja/interpreter.h"

namespace vkmoe {

namespace {

std::tm local_time() {
  std::time_t seconds = std::time(nullptr);
  std::tm now{};
#ifdef _WIN32
  localtime_s(&now, &seconds);
#else
  localtime_r(&seconds, &now);
#endif
  return now;
}

}  // namespace

// What apply_chat_template adds to its arguments: names that are always defined, and one field for reasoning.
nlohmann::ordered_json jinja::template_variables(const nlohmann::ordered_json& given) {
  if (!given.is_object()) fail(VKMOE_ERROR_INVALID_ARGUMENT, "the chat template's variables must be an object");
  nlohmann::ordered_json variables = given;
  for (const char* name : {"tools", "documents"}) {
    if (!variables.contains(name)) variables[name] = nullptr;
  }
  if (!variables.contains("add_generation_prompt")) variables["add_generation_prompt"] = false;
  auto messages = variables.find("messages");
  if (messages == variables.end() || !messages->is_array()) return variables;
  for (auto& message : *messages) {
    if (!message.is_object())
      fail(VKMOE_ERROR_INVALID_ARGUMENT, "a chat message must be an object, not ", message.type_name());
    for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
      if (!message.contains(name) || message[name].is_null()) continue;
      nlohmann::ordered_json reasoning = message[name], aliased;
      aliased["thinking"] = reasoning;
      for (const auto& [key, value] : message.items()) aliased[key] = value;
      aliased["reasoning_content"] = reasoning;
      message = std::move(aliased);
      break;
    }
  }
  return variables;
}

std::string render_chat_template(const std::string& source, const nlohmann::ordered_json& variables) {
  return jinja::render(source, jinja::template_variables(variables), local_time());
}

}  // namespace vkmoe
