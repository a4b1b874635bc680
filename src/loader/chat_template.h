// Renders a model's own chat template (Jinja2, as transformers' apply_chat_template does).
#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace vkmoe {

// variables: an object with "messages" ([{"role","content"}, ...]), "add_generation_prompt", "bos_token", "eos_token" and
// whatever else the template reads. Fails with VKMOE_ERROR_UNSUPPORTED and the line for a construct that is not known,
// and with VKMOE_ERROR_INVALID_ARGUMENT and the template's own text for raise_exception.
std::string render_chat_template(const std::string& source, const nlohmann::ordered_json& variables);

}  // namespace vkmoe
