// Template source to tokens, with trim_blocks and lstrip_blocks on. Follows jinja2/lexer.py.
#pragma once
#include <string>
#include <vector>

#include "loader/jinja/context.h"

namespace vkmoe::jinja {

enum class TokenType {
  data,
  variable_begin,
  variable_end,
  block_begin,
  block_end,
  name,
  string,
  integer,
  floating,
  op,
  end
};

struct Token {
  TokenType type;
  std::string text;  // a string without quotes and escapes; an operator as written
  int line;

  bool is_name(const char* name) const { return type == TokenType::name && text == name; }
  bool is_op(const char* op) const { return type == TokenType::op && text == op; }
};

std::vector<Token> tokenize(Context& cx, const std::string& source);

}  // namespace vkmoe::jinja
