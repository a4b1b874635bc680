// Calls of macros and of the functions that every template has.
#include <algorithm>

#include "loader/jinja/interpreter.h"
#include "loader/jinja/operators.h"

namespace vkmoe::jinja {

Value Interpreter::call(const Value& callee, const Args& args) {
  if (callee.is(Type::undefined)) cx_.error(callee.undefined_message());
  if (callee.is(Type::loop)) cx_.unsupported("a recursive loop");
  if (!callee.is(Type::function)) cx_.error("'", type_name(callee), "' object is not callable");
  const Function& function = callee.function();
  if (function.macro) return call_macro(*function.macro, args);
  if (!function.self.is(Type::undefined)) return call_method(cx_, function, args);
  return call_global(function.name, args);
}

Value Interpreter::call_macro(const Macro& macro, const Args& args) {
  Depth depth(cx_);
  const Signature& s = *macro.signature;
  std::shared_ptr<Scope> caller_scope = scope_;
  struct Restore {
    std::shared_ptr<Scope>& scope;
    std::shared_ptr<Scope>& saved;
    ~Restore() { scope = saved; }
  } restore{scope_, caller_scope};
  scope_ = std::make_shared<Scope>();
  scope_->outer = macro.scope;

  std::vector<bool> used(args.named.size());
  auto named = [&](const std::string& name) -> const Value* {
    cx_.spend(used.size());
    for (size_t i = 0; i < used.size(); ++i) {
      if (args.named[i].first != name) continue;
      used[i] = true;
      return &args.named[i].second;
    }
    return nullptr;
  };
  size_t first_default = s.names.size() - s.defaults.size();
  for (size_t i = 0; i < s.names.size(); ++i) {
    const Value* given = i < args.positional.size() ? &args.positional[i] : named(s.names[i]);
    define(s.names[i], given ? *given
                       : i >= first_default
                           ? evaluate(*s.defaults[i - first_default])
                           : Value::undefined(cx_, "parameter '" + s.names[i] + "' was not provided"));
  }
  if (s.uses_caller && std::find(s.names.begin(), s.names.end(), "caller") == s.names.end()) {
    const Value* caller = named("caller");
    define("caller", caller ? *caller : Value::undefined(cx_, "No caller defined"));
  }
  Pairs extra;
  for (size_t i = 0; i < used.size(); ++i) {
    if (used[i]) continue;
    if (!s.uses_kwargs) cx_.error("macro '", macro.name, "' takes no keyword argument '", args.named[i].first, "'");
    insert(cx_, extra, Value::string(cx_, args.named[i].first), args.named[i].second);
  }
  if (s.uses_kwargs) define("kwargs", Value::dict(cx_, std::move(extra)));
  if (args.positional.size() > s.names.size() && !s.uses_varargs) {
    cx_.error("macro '", macro.name, "' takes not more than ", s.names.size(), " argument(s)");
  }
  if (s.uses_varargs) {
    size_t first = std::min(s.names.size(), args.positional.size());
    define("varargs",
           Value::tuple(cx_, Items(args.positional.begin() + std::ptrdiff_t(first), args.positional.end())));
  }
  TextBuilder out(cx_);
  run_body(*macro.body, out);
  return Value::string(cx_, out.text());
}

Value Interpreter::call_global(const std::string& name, const Args& args) {
  if (name == "range") return range(args);
  if (name == "namespace") return new_namespace(args);
  if (name == "dict") return dict_of(cx_, args);
  if (name == "raise_exception") {
    auto a = bind(cx_, name, args, {"message"}, 1);
    fail(VKMOE_ERROR_INVALID_ARGUMENT, to_text(cx_, *a[0]));
  }
  auto a = bind(cx_, name, args, {"format"}, 1);
  return Value::string(cx_, format_time(string_argument(cx_, *a[0], "the time's format")));
}

Value Interpreter::range(const Args& args) {
  if (!args.named.empty() || args.positional.empty() || args.positional.size() > 3) {
    cx_.error("range() takes one to three positional arguments");
  }
  int64_t bounds[3] = {0, 0, 1};
  size_t count = args.positional.size();
  for (size_t i = 0; i < count; ++i)
    bounds[count == 1 ? 1 : i] = integer_argument(cx_, args.positional[i], "range()'s argument");
  auto [start, stop, step] = bounds;
  if (step == 0) cx_.error("range() arg 3 must not be zero");
  constexpr size_t most = 100000;  // as in jinja2's sandbox
  Items items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (items.size() == most) cx_.error("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
    items.push_back(Value::integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  std::string label = cat("range(", start, ", ", stop, step == 1 ? "" : cat(", ", step), ")");
  return Value::sequence(cx_, Type::range, std::move(items), label);
}

Value Interpreter::new_namespace(const Args& args) {
  Value attributes = dict_of(cx_, args);
  cx_.allocate(sizeof(Namespace) + attributes.pairs().size() * (sizeof(std::string) + sizeof(Value)));
  namespaces_.push_back(std::make_unique<Namespace>());
  for (const auto& [key, value] : attributes.pairs()) {
    const std::string& name = string_argument(cx_, key, "a namespace's attribute");
    if (!name.empty() && name[0] == '_') cx_.error("a namespace's attribute cannot begin with an underscore");
    namespaces_.back()->attributes.emplace_back(name, value);
  }
  return Value::space(namespaces_.back().get());
}

std::string Interpreter::format_time(const std::string& format) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    bool unpadded = i + 1 < format.size() && format[i + 1] == '-';
    if (unpadded) ++i;
    char type = i + 1 < format.size() ? format[++i] : 0;
    if (!type || std::string_view("aAbBcdDeFHIjmMnpRStTUwWxXyYZ%").find(type) == std::string_view::npos) {
      cx_.unsupported("the time format '", format, "'");
    }
    char buffer[128], pattern[] = {'%', type, 0};
    std::string part(buffer, std::strftime(buffer, sizeof buffer, pattern, &cx_.now));
    if (unpadded) part.erase(0, std::min(part.find_first_not_of("0 "), part.empty() ? 0 : part.size() - 1));
    out += part;
  }
  return out;
}

}  // namespace vkmoe::jinja
