// Tests: `value is name(arguments)`. Follows jinja2/tests.py.
#include <algorithm>
#include <cmath>

#include "loader/jinja/operators.h"

namespace vkmoe::jinja {

namespace {

std::optional<bool> type_test(const std::string& name, const Value& value) {
  if (name == "defined") return !value.is(Type::undefined);
  if (name == "undefined") return value.is(Type::undefined);
  if (name == "none") return value.is(Type::none);
  if (name == "boolean") return value.is(Type::boolean);
  if (name == "true") return value.is(Type::boolean) && value.as_integer();
  if (name == "false") return value.is(Type::boolean) && !value.as_integer();
  if (name == "integer") return value.is(Type::integer);
  if (name == "float") return value.is(Type::floating);
  if (name == "number") return value.is_number();
  if (name == "string") return value.is_string();
  if (name == "mapping") return value.is(Type::dict);
  if (name == "iterable") return is_iterable(value);
  if (name == "callable") return value.is(Type::function) || value.is(Type::undefined) || value.is(Type::loop);
  if (name == "escaped") return value.is_markup();
  if (name == "sequence") {  // what has a length and items by index; jinja2's Undefined has both
    return value.is_string() || value.is(Type::list) || value.is(Type::tuple) || value.is(Type::range) ||
           value.is(Type::dict) || value.is(Type::undefined);
  }
  return std::nullopt;
}

// The comparison behind a test's name, or "".
std::string comparison(const std::string& name) {
  if (name == "==" || name == "eq" || name == "equalto") return "==";
  if (name == "!=" || name == "ne") return "!=";
  if (name == "<" || name == "lt" || name == "lessthan") return "<";
  if (name == "<=" || name == "le") return "<=";
  if (name == ">" || name == "gt" || name == "greaterthan") return ">";
  if (name == ">=" || name == "ge") return ">=";
  return name == "in" ? "in" : "";
}

bool same_object(const Value& a, const Value& b) {
  if (a.type() != b.type()) return false;
  if (a.is(Type::none)) return true;
  return a.is_integral() ? a.as_integer() == b.as_integer() : a.identity() && a.identity() == b.identity();
}

}  // namespace

bool has_test(const std::string& name) {
  constexpr std::string_view others[] = {"odd", "even", "divisibleby", "lower", "upper", "sameas", "filter", "test"};
  return type_test(name, Value()) || !comparison(name).empty() ||
         std::find(std::begin(others), std::end(others), name) != std::end(others);
}

bool apply_test(Context& cx, const std::string& name, const Value& value, const Args& args) {
  cx.spend(1);
  if (auto answer = type_test(name, value)) {
    bind(cx, name, args, {}, 0);
    return *answer;
  }
  if (std::string op = comparison(name); !op.empty()) {
    auto a = bind(cx, name, args, {"other"}, 1);
    return compare(cx, op, value, *a[0]);
  }
  if (name == "odd" || name == "even") {
    bind(cx, name, args, {}, 0);
    return equal(cx, binary(cx, "%", value, Value::integer(2)), Value::integer(name == "odd" ? 1 : 0));
  }
  if (name == "divisibleby") {
    auto a = bind(cx, name, args, {"num"}, 1);
    return equal(cx, binary(cx, "%", value, *a[0]), Value::integer(0));
  }
  if (name == "sameas") {
    auto a = bind(cx, name, args, {"other"}, 1);
    return same_object(value, *a[0]);
  }
  if (name == "lower" || name == "upper") {
    bind(cx, name, args, {}, 0);
    Function method(cx, name == "lower" ? "islower" : "isupper", Value::string(cx, to_text(cx, value)), nullptr);
    return truthy(call_method(cx, method, {}));
  }
  if (name == "filter" || name == "test") {
    bind(cx, name, args, {}, 0);
    return value.is_string() && (name == "filter" ? has_filter(value.text()) : has_test(value.text()));
  }
  cx.unsupported("no test named '", name, "'");
}

}  // namespace vkmoe::jinja
