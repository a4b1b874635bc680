// The parsed template. Follows jinja2/nodes.py.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "loader/jinja/value.h"

namespace vkmoe::jinja {

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<Expr>;
using Body = std::vector<Stmt>;

struct Expr {
  enum class Kind {
    constant,   // value
    name,       // text
    space_ref,  // text.attribute, as the target of an assignment
    tuple,
    list,       // children
    dict,       // children: key, value, key, value, ...
    attribute,  // children[0].attribute
    item,       // children[0][children[1]]
    slice,      // children[0][children[1]:children[2]:children[3]], null where left out
    call,       // children[0](arguments)
    filter,     // children[0] | text(arguments); null inside a filter block
    test,       // children[0] is text(arguments)
    unary,      // text children[0]
    binary,     // children[0] text children[1]
    logic,      // "and", "or"
    concat,     // children joined by ~
    compare,    // children[0] operators[0] children[1] operators[1] ...
    condition   // children[0] if children[1] else children[2], which may be null
  };
  Kind kind;
  int line;
  int depth = 1;
  std::string text, attribute;
  Value value;
  std::vector<ExprPtr> children;
  std::vector<ExprPtr> arguments;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star, star_star;  // *arguments, **named
  std::vector<std::string> operators;
};

struct Signature {
  std::vector<std::string> names;
  std::vector<ExprPtr> defaults;  // of the last names
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

struct Stmt {
  enum class Kind {
    text,          // text
    print,         // value
    if_chain,      // tests[i] -> bodies[i]; one body more is the else
    for_loop,      // for target in value if test: bodies[0] else: bodies[1]
    set,           // target = value
    set_block,     // target = bodies[0], through the filters in value
    macro,         // text, signature, bodies[0]
    call_block,    // value is the call; signature, bodies[0] are the caller
    filter_block,  // value, bodies[0]
    with,          // targets = values in tests: bodies[0]
    generation,    // bodies[0], in a scope of its own
    break_loop,
    continue_loop
  };
  Kind kind;
  int line;
  std::string text;
  ExprPtr target, value, test;
  std::vector<ExprPtr> targets, tests;
  std::vector<Body> bodies;
  std::unique_ptr<Signature> signature;
};

}  // namespace vkmoe::jinja
