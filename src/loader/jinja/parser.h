// Tokens to a tree. Follows jinja2/parser.py, with the loopcontrols extension and transformers' generation blocks.
#pragma once
#include <string>

#include "loader/jinja/ast.h"

namespace vkmoe::jinja {

Body parse(Context& cx, const std::string& source);

}  // namespace vkmoe::jinja
