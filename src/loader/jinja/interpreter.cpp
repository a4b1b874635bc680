#include "loader/jinja/interpreter.h"

#include <algorithm>

#include "loader/jinja/operators.h"
#include "loader/jinja/parser.h"

namespace vkmoe::jinja {

namespace {

// A block's own scope while it runs.
class ScopeGuard {
 public:
  ScopeGuard(std::shared_ptr<Scope>& current, std::shared_ptr<Scope> outer) : current_(current), saved_(current) {
    current_ = std::make_shared<Scope>();
    current_->outer = std::move(outer);
  }
  ~ScopeGuard() { current_ = std::move(saved_); }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  std::shared_ptr<Scope>& current_;
  std::shared_ptr<Scope> saved_;
};

}  // namespace

std::string render(const std::string& source, const nlohmann::ordered_json& variables, const std::tm& now) {
  Context cx;
  cx.now = now;
  if (source.size() > Context::kMaxSourceBytes) {
    cx.unsupported("the template is longer than ", Context::kMaxSourceBytes, " bytes");
  }
  Body body = parse(cx, source);
  return Interpreter(cx, variables).run(body);
}

Interpreter::Interpreter(Context& cx, const nlohmann::ordered_json& variables)
    : cx_(cx), variables_(Value::from_json(cx, variables)), scope_(std::make_shared<Scope>()) {
  if (!variables_.is(Type::dict)) cx.error("the template's variables must be an object");
}

Interpreter::~Interpreter() {
  for (auto& space : namespaces_) space->attributes.clear();
}

std::string Interpreter::run(const Body& body) {
  TextBuilder out(cx_);
  run_body(body, out);
  return out.text();
}

// ---- statements ----

Interpreter::Flow Interpreter::run_body(const Body& body, TextBuilder& out) {
  for (const Stmt& s : body) {
    Flow flow = run_statement(s, out);
    if (flow != Flow::next) return flow;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::run_scoped(const Body& body, TextBuilder& out) {
  ScopeGuard guard(scope_, scope_);
  return run_body(body, out);
}

Interpreter::Flow Interpreter::run_statement(const Stmt& s, TextBuilder& out) {
  Depth depth(cx_);
  cx_.spend(1);
  cx_.line = s.line;
  switch (s.kind) {
    case Stmt::Kind::text: out.append(s.text); break;
    case Stmt::Kind::print: out.append(to_text(cx_, evaluate(*s.value))); break;
    case Stmt::Kind::if_chain: return run_if(s, out);
    case Stmt::Kind::for_loop: return run_for(s, out);
    case Stmt::Kind::set: assign(*s.target, evaluate(*s.value)); break;
    case Stmt::Kind::set_block: return run_set_block(s);
    case Stmt::Kind::macro: define(s.text, make_macro(s.text, *s.signature, s.bodies[0])); break;
    case Stmt::Kind::call_block: run_call_block(s, out); break;
    case Stmt::Kind::filter_block: return run_filter_block(s, out);
    case Stmt::Kind::with: return run_with(s, out);
    case Stmt::Kind::generation: return run_scoped(s.bodies[0], out);
    case Stmt::Kind::break_loop: return Flow::leave;
    case Stmt::Kind::continue_loop: return Flow::again;
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::run_if(const Stmt& s, TextBuilder& out) {
  for (size_t i = 0; i < s.bodies.size(); ++i) {
    if (i >= s.tests.size() || truthy(evaluate(*s.tests[i]))) return run_body(s.bodies[i], out);
  }
  return Flow::next;
}

Interpreter::Flow Interpreter::run_for(const Stmt& s, TextBuilder& out) {
  Value iterable = evaluate(*s.value);
  bool sized = !iterable.is(Type::generator) && !s.test;
  auto loop = std::make_shared<Loop>(cx_, iterate(cx_, iterable), sized);
  if (s.test) {
    loop->test = [this, &s](const Value& item) {
      ScopeGuard guard(scope_, scope_);
      assign(*s.target, item);
      return truthy(evaluate(*s.test));
    };
  }
  Flow flow = run_loop(s, Value::loop(loop), out);
  loop->test = nullptr;
  return flow;
}

Interpreter::Flow Interpreter::run_loop(const Stmt& s, const Value& loop, TextBuilder& out) {
  bool any = false;
  while (loop.loop().advance()) {
    any = true;
    cx_.spend(1);
    ScopeGuard guard(scope_, scope_);
    define("loop", loop);
    assign(*s.target, *loop.loop().current);
    if (run_body(s.bodies[0], out) == Flow::leave) return Flow::next;
  }
  return any ? Flow::next : run_scoped(s.bodies[1], out);
}

Interpreter::Flow Interpreter::run_set_block(const Stmt& s) {
  TextBuilder text(cx_);
  Flow flow = run_scoped(s.bodies[0], text);
  if (flow != Flow::next) return flow;
  Value value = Value::string(cx_, text.text());
  assign(*s.target, s.value ? filter(*s.value, &value) : value);
  return flow;
}

Interpreter::Flow Interpreter::run_filter_block(const Stmt& s, TextBuilder& out) {
  TextBuilder text(cx_);
  Flow flow = run_scoped(s.bodies[0], text);
  if (flow != Flow::next) return flow;
  Value value = Value::string(cx_, text.text());
  out.append(to_text(cx_, filter(*s.value, &value)));
  return flow;
}

Interpreter::Flow Interpreter::run_with(const Stmt& s, TextBuilder& out) {
  Items values;
  for (const ExprPtr& value : s.tests) values.push_back(evaluate(*value));
  ScopeGuard guard(scope_, scope_);
  for (size_t i = 0; i < values.size(); ++i) define(s.targets[i]->text, values[i]);
  return run_body(s.bodies[0], out);
}

void Interpreter::run_call_block(const Stmt& s, TextBuilder& out) {
  Value callee = evaluate(*s.value->children[0]);
  Args args = arguments(*s.value);
  args.named.emplace_back("caller", make_macro("caller", *s.signature, s.bodies[0]));
  out.append(to_text(cx_, call(callee, args)));
}

void Interpreter::assign(const Expr& target, const Value& value) {
  if (target.kind == Expr::Kind::name) return define(target.text, value);
  if (target.kind == Expr::Kind::space_ref) {
    Value object = look_up(target.text);
    if (!object.is(Type::space)) cx_.error("cannot assign attribute on non-namespace object");
    if (target.attribute[0] == '_') cx_.error("a namespace's attribute cannot begin with an underscore");
    auto& attributes = object.space().attributes;
    cx_.spend(attributes.size() / 8);
    auto found = std::find_if(attributes.begin(), attributes.end(),
                              [&](auto& pair) { return pair.first == target.attribute; });
    if (found != attributes.end()) {
      found->second = value;
    } else {
      attributes.emplace_back(target.attribute, value);
    }
    return;
  }
  auto items = iterate(cx_, value);
  if (items->size() != target.children.size()) {
    cx_.error("expected ", target.children.size(), " values to unpack, found ", items->size());
  }
  for (size_t i = 0; i < items->size(); ++i) assign(*target.children[i], (*items)[i]);
}

// ---- expressions ----

Value Interpreter::evaluate(const Expr& e) {
  Depth depth(cx_);
  cx_.spend(1);
  cx_.line = e.line;
  using Kind = Expr::Kind;
  switch (e.kind) {
    case Kind::constant:
    case Kind::name:
    case Kind::space_ref: return constant_or_name(e);
    case Kind::tuple:
    case Kind::list:
    case Kind::dict: return container(e);
    case Kind::attribute: return get_attribute(cx_, evaluate(*e.children[0]), e.attribute);
    case Kind::item: {
      Value object = evaluate(*e.children[0]);
      return get_item(cx_, object, evaluate(*e.children[1]));
    }
    case Kind::slice: return slice(e);
    case Kind::call: {
      Value callee = evaluate(*e.children[0]);
      return call(callee, arguments(e));
    }
    case Kind::filter: return filter(e, nullptr);
    case Kind::test: {
      Value value = evaluate(*e.children[0]);
      return Value::boolean(apply_test(cx_, e.text, value, arguments(e)));
    }
    case Kind::unary: return unary(cx_, e.text, evaluate(*e.children[0]));
    case Kind::binary: {
      Value left = evaluate(*e.children[0]);
      return binary(cx_, e.text, left, evaluate(*e.children[1]));
    }
    case Kind::logic: return logic(e);
    case Kind::concat: return concat(e);
    case Kind::compare: return compare_chain(e);
    case Kind::condition:
      if (truthy(evaluate(*e.children[1]))) return evaluate(*e.children[0]);
      if (e.children[2]) return evaluate(*e.children[2]);
      return Value::undefined(cx_, "the inline if-expression evaluated to false and no else section was defined.");
  }
  return Value();
}

Value Interpreter::constant_or_name(const Expr& e) {
  return e.kind == Expr::Kind::constant ? e.value : look_up(e.text);
}

Value Interpreter::container(const Expr& e) {
  if (e.kind == Expr::Kind::dict) {
    Pairs pairs;
    for (size_t i = 0; i < e.children.size(); i += 2) {
      Value key = evaluate(*e.children[i]);
      insert(cx_, pairs, key, evaluate(*e.children[i + 1]));
    }
    return Value::dict(cx_, std::move(pairs));
  }
  Items items;
  for (const ExprPtr& child : e.children) items.push_back(evaluate(*child));
  return Value::sequence(cx_, e.kind == Expr::Kind::list ? Type::list : Type::tuple, std::move(items));
}

Value Interpreter::compare_chain(const Expr& e) {
  Value left = evaluate(*e.children[0]);
  for (size_t i = 0; i < e.operators.size(); ++i) {
    Value right = evaluate(*e.children[i + 1]);
    if (!compare(cx_, e.operators[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Interpreter::logic(const Expr& e) {
  Value left = evaluate(*e.children[0]);
  return truthy(left) == (e.text == "or") ? left : evaluate(*e.children[1]);
}

Value Interpreter::slice(const Expr& e) {
  Value object = evaluate(*e.children[0]);
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) bounds[i] = e.children[i + 1] ? evaluate(*e.children[i + 1]) : Value::none();
  return get_slice(cx_, object, bounds[0], bounds[1], bounds[2]);
}

Value Interpreter::concat(const Expr& e) {
  TextBuilder text(cx_);
  for (const ExprPtr& child : e.children) text.append(to_text(cx_, evaluate(*child)));
  return Value::string(cx_, text.text());
}

Value Interpreter::filter(const Expr& e, const Value* block_text) {
  Depth depth(cx_);
  bool first = !e.children[0];
  Value value = first ? *block_text : block_text ? filter(*e.children[0], block_text) : evaluate(*e.children[0]);
  return apply_filter(cx_, e.text, value, arguments(e));
}

Args Interpreter::arguments(const Expr& e) {
  Args args;
  for (const ExprPtr& argument : e.arguments) args.positional.push_back(evaluate(*argument));
  for (const auto& [name, value] : e.named) args.named.emplace_back(name, evaluate(*value));
  if (e.star) {
    auto items = iterate(cx_, evaluate(*e.star));
    cx_.spend(items->size());
    args.positional.insert(args.positional.end(), items->begin(), items->end());
  }
  if (e.star_star) {
    Value named = evaluate(*e.star_star);
    if (!named.is(Type::dict)) cx_.error("the argument after ** must be a mapping, not ", type_name(named));
    for (const auto& [key, value] : named.pairs()) {
      args.named.emplace_back(string_argument(cx_, key, "a keyword"), value);
    }
  }
  cx_.line = e.line;
  return args;
}

// ---- names ----

Value Interpreter::look_up(const std::string& name) {
  for (const Scope* scope = scope_.get(); scope; scope = scope->outer.get()) {
    cx_.spend(scope->names.size() / 8);
    for (const auto& [key, value] : scope->names) {
      if (key == name) return value;
    }
  }
  for (const auto& [key, value] : variables_.pairs()) {
    if (key.text() == name) return value;
  }
  constexpr std::string_view globals[] = {"range", "namespace", "dict", "raise_exception", "strftime_now"};
  if (std::find(std::begin(globals), std::end(globals), name) != std::end(globals)) return global(name);
  if (name == "cycler" || name == "joiner" || name == "lipsum") cx_.unsupported("the function ", name);
  return Value::undefined(cx_, "'" + name + "' is undefined");
}

void Interpreter::define(const std::string& name, const Value& value) {
  cx_.spend(scope_->names.size() / 8);
  for (auto& [key, old] : scope_->names) {
    if (key == name) {
      old = value;
      return;
    }
  }
  scope_->names.emplace_back(name, value);
}

Value Interpreter::make_macro(std::string name, const Signature& signature, const Body& body) {
  cx_.allocate(sizeof(Macro) + sizeof(Scope));
  macros_.push_back(std::make_unique<Macro>(Macro{name, &signature, &body, scope_}));
  return Value::function(std::make_shared<Function>(cx_, std::move(name), Value(), macros_.back().get()));
}

}  // namespace vkmoe::jinja
