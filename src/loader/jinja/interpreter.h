// Runs a parsed template.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "loader/jinja/ast.h"

namespace vkmoe::jinja {

// The text of a template. variables: an object. now: what strftime_now() formats.
std::string render(const std::string& source, const nlohmann::ordered_json& variables, const std::tm& now);

// What transformers' apply_chat_template makes of its arguments before it renders; in chat_template.cpp.
nlohmann::ordered_json template_variables(const nlohmann::ordered_json& given);

// The names that one block can see, within those around it.
struct Scope {
  std::vector<std::pair<std::string, Value>> names;
  std::shared_ptr<Scope> outer;
};

struct Macro {
  std::string name;
  const Signature* signature;
  const Body* body;
  std::shared_ptr<Scope> scope;  // around the definition
};

class Interpreter {
 public:
  Interpreter(Context& cx, const nlohmann::ordered_json& variables);
  ~Interpreter();
  std::string run(const Body& body);

 private:
  enum class Flow { next, leave, again };  // as after break and continue

  // statements
  Flow run_body(const Body& body, TextBuilder& out);
  Flow run_statement(const Stmt& s, TextBuilder& out);
  Flow run_if(const Stmt& s, TextBuilder& out);
  Flow run_for(const Stmt& s, TextBuilder& out);
  Flow run_loop(const Stmt& s, const Value& loop, TextBuilder& out);
  Flow run_scoped(const Body& body, TextBuilder& out);
  Flow run_set_block(const Stmt& s);
  Flow run_filter_block(const Stmt& s, TextBuilder& out);
  Flow run_with(const Stmt& s, TextBuilder& out);
  void run_call_block(const Stmt& s, TextBuilder& out);
  void assign(const Expr& target, const Value& value);

  // expressions
  Value evaluate(const Expr& e);
  Value constant_or_name(const Expr& e);
  Value container(const Expr& e);
  Value compare_chain(const Expr& e);
  Value logic(const Expr& e);
  Value slice(const Expr& e);
  Value concat(const Expr& e);
  Value filter(const Expr& e, const Value* block_text);
  Args arguments(const Expr& e);

  // calls
  Value call(const Value& callee, const Args& args);
  Value call_macro(const Macro& macro, const Args& args);
  Value call_global(const std::string& name, const Args& args);
  Value range(const Args& args);
  Value new_namespace(const Args& args);
  std::string format_time(const std::string& format);

  // names
  Value look_up(const std::string& name);
  void define(const std::string& name, const Value& value);
  Value make_macro(std::string name, const Signature& signature, const Body& body);
  Value global(const std::string& name) {
    return Value::function(std::make_shared<Function>(cx_, name, Value(), nullptr));
  }

  Context& cx_;
  Value variables_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::unique_ptr<Namespace>> namespaces_;
  std::vector<std::unique_ptr<Macro>> macros_;
};

}  // namespace vkmoe::jinja
