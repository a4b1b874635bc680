// libFuzzer target: a chat template, rendered for a short conversation.
#include "base/error.h"
#include "loader/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto variables = nlohmann::ordered_json::parse(R"({"messages": [{"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi <b>\u00e9"}, {"role": "assistant", "content": "Yes", "tool_calls": [{"type": "function",
    "function": {"name": "f", "arguments": {"x": 1.5, "y": null}}}]}, {"role": "tool", "content": "[1, 2]"},
    {"role": "user", "content": "Bye"}], "tools": [{"type": "function", "function": {"name": "f", "description": "d",
    "parameters": {"type": "object", "properties": {"x": {"type": "number"}}}}}], "add_generation_prompt": true,
    "bos_token": "<s>", "eos_token": "</s>"})");
  try {
    vkmoe::render_chat_template(std::string(reinterpret_cast<const char*>(data), size), variables);
  } catch (const vkmoe::Error&) {
  }
  return 0;
}
