#include "loader/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/numeric.h"
#include "loader/jinja/text.h"

namespace vkmoe::jinja {

namespace {

[[noreturn]] void overflow(Context& cx) { cx.unsupported("an integer that does not fit in 64 bits"); }

Value integer_arithmetic(Context& cx, const std::string& op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool over = false;
  if (op == "+") {
    over = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    over = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    over = __builtin_mul_overflow(a, b, &result);
  } else if (op == "**") {
    result = 1;
    for (; b > 0 && !over; b >>= 1) {
      if (b & 1) over = __builtin_mul_overflow(result, a, &result);
      if (b > 1) over |= __builtin_mul_overflow(a, a, &a);
    }
  } else {  // "//", "%": rounded down
    if (b == 0) cx.error("integer division or modulo by zero");
    if (b == -1) return op == "%" ? Value::integer(0) : integer_arithmetic(cx, "-", 0, a);
    int64_t remainder = a % b;
    bool down = remainder != 0 && (remainder < 0) != (b < 0);
    result = op == "%" ? remainder + (down ? b : 0) : a / b - (down ? 1 : 0);
  }
  if (over) overflow(cx);
  return Value::integer(result);
}

Value float_arithmetic(Context& cx, const std::string& op, double a, double b) {
  if (op == "+") return Value::floating(a + b);
  if (op == "-") return Value::floating(a - b);
  if (op == "*") return Value::floating(a * b);
  if (op == "**") {
    if (a == 0 && b < 0) cx.error("0.0 cannot be raised to a negative power");
    if (a < 0 && b != std::floor(b)) cx.unsupported("a complex number");
    return Value::floating(std::pow(a, b));
  }
  if (b == 0) cx.error("float division by zero");
  if (op == "/") return Value::floating(a / b);
  double remainder = std::fmod(a, b), quotient = (a - remainder) / b;
  if (remainder != 0 && (b < 0) != (remainder < 0)) {
    remainder += b;
    quotient -= 1;
  }
  if (op == "%") return Value::floating(remainder == 0 ? std::copysign(0.0, b) : remainder);
  double down = std::floor(quotient);
  return Value::floating(quotient - down > 0.5 ? down + 1 : down);
}

Value concatenate(Context& cx, const Value& a, const Value& b) {
  cx.spend_bytes(a.text().size() + b.text().size());
  bool markup = a.is_markup() || b.is_markup();
  auto part = [&](const Value& value) {
    return markup && !value.is_markup() ? escape_html(value.text()) : value.text();
  };
  return Value::string(cx, part(a) + part(b), markup);
}

Value repeat(Context& cx, const Value& value, int64_t times) {
  if (value.is_string()) {
    TextBuilder out(cx);
    out.repeat(value.text(), times);
    return Value::string(cx, out.text(), value.is_markup());
  }
  Items items;
  uint64_t count = times > 0 ? value.items().size() : 0;
  if (!checked_mul(count, uint64_t(times), &count)) count = UINT64_MAX;
  cx.check_items(count, sizeof(Value));
  cx.spend(count);
  for (uint64_t i = 0; i < count; i += value.items().size()) {
    items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return Value::sequence(cx, value.type(), std::move(items));
}

bool is_list_or_tuple(const Value& value) { return value.is(Type::list) || value.is(Type::tuple); }

}  // namespace

Value unary(Context& cx, const std::string& op, const Value& value) {
  if (op == "not") return Value::boolean(!truthy(value));
  if (value.is(Type::undefined)) cx.error(value.undefined_message());
  if (!value.is_number()) cx.error("bad operand type for unary ", op, ": '", type_name(value), "'");
  if (value.is(Type::floating)) return Value::floating(op == "-" ? -value.as_double() : value.as_double());
  return op == "-" ? integer_arithmetic(cx, "-", 0, value.as_integer()) : Value::integer(value.as_integer());
}

Value binary(Context& cx, const std::string& op, const Value& a, const Value& b) {
  if (op == "%" && a.is_string()) return Value::string(cx, printf_format(cx, a.text(), b), a.is_markup());
  if (a.is(Type::undefined)) cx.error(a.undefined_message());
  if (b.is(Type::undefined)) cx.error(b.undefined_message());
  if (a.is_number() && b.is_number()) {
    bool integral = a.is_integral() && b.is_integral() && op != "/" && !(op == "**" && b.as_integer() < 0);
    if (integral) return integer_arithmetic(cx, op, a.as_integer(), b.as_integer());
    return float_arithmetic(cx, op, a.as_double(), b.as_double());
  }
  if (op == "+") {
    if (a.is_string() && b.is_string()) return concatenate(cx, a, b);
    if (is_list_or_tuple(a) && a.type() == b.type()) {
      cx.spend(a.items().size() + b.items().size());
      cx.check_items(a.items().size() + b.items().size(), sizeof(Value));
      Items items = a.items();
      items.insert(items.end(), b.items().begin(), b.items().end());
      return Value::sequence(cx, a.type(), std::move(items));
    }
  }
  if (op == "*") {
    if ((a.is_string() || is_list_or_tuple(a)) && b.is_integral()) return repeat(cx, a, b.as_integer());
    if ((b.is_string() || is_list_or_tuple(b)) && a.is_integral()) return repeat(cx, b, a.as_integer());
  }
  cx.error("unsupported operand types for ", op, ": '", type_name(a), "' and '", type_name(b), "'");
}

bool compare(Context& cx, const std::string& op, const Value& a, const Value& b) {
  if (op == "==") return equal(cx, a, b);
  if (op == "!=") return !equal(cx, a, b);
  if (op == "in") return contains(cx, b, a);
  if (op == "not in") return !contains(cx, b, a);
  if (op == "<") return less(cx, a, b, "<");
  if (op == ">") return less(cx, b, a, ">");
  if (op == "<=") return !less(cx, b, a, "<=");
  return !less(cx, a, b, ">=");
}

// ---- attributes and items ----

namespace {

std::string object_name(const Value& object) {
  return object.is(Type::none) ? "None" : std::string(type_name(object)) + " object";
}

Value missing(Context& cx, const Value& object, const std::string& name) {
  return Value::undefined(cx, "'" + object_name(object) + "' has no attribute '" + name + "'");
}

std::optional<Value> loop_attribute(Context& cx, const Value& object, const std::string& name) {
  Loop& loop = object.loop();
  int64_t index = loop.index0 + 1;
  if (name == "index0") return Value::integer(loop.index0);
  if (name == "index") return Value::integer(index);
  if (name == "first") return Value::boolean(loop.index0 == 0);
  if (name == "last") return Value::boolean(!loop.peek());
  if (name == "length") return Value::integer(loop.count());
  if (name == "revindex") return Value::integer(loop.count() - loop.index0);
  if (name == "revindex0") return Value::integer(loop.count() - index);
  if (name == "depth" || name == "depth0") return Value::integer(name == "depth" ? 1 : 0);  // no recursive loops here
  if (name == "previtem") {
    return loop.index0 > 0 && loop.before ? *loop.before : Value::undefined(cx, "there is no previous item");
  }
  if (name == "nextitem") {
    const Value* next = loop.peek();
    return next ? *next : Value::undefined(cx, "there is no next item");
  }
  if (name == "changed") cx.unsupported("loop.changed");
  if (name == "cycle") {
    return Value::function(std::make_shared<Function>(cx, name, object, nullptr));
  }
  return std::nullopt;
}

// What Python's getattr finds.
std::optional<Value> python_attribute(Context& cx, const Value& object, const std::string& name) {
  if (object.is(Type::loop)) return loop_attribute(cx, object, name);
  if (object.is(Type::space)) {
    cx.spend(object.space().attributes.size() / 8);
    for (const auto& [key, value] : object.space().attributes) {
      if (key == name) return value;
    }
    return std::nullopt;
  }
  if (name.compare(0, 2, "__") == 0) return Value::undefined(cx, "access to attribute '" + name + "' is unsafe.");
  return find_method(cx, object, name);
}

// What object[key] gives, unless Python raises a LookupError or TypeError.
std::optional<Value> python_item(Context& cx, const Value& object, const Value& key) {
  if (object.is(Type::dict)) {
    if (key.is(Type::list) || key.is(Type::dict)) return std::nullopt;
    const Value* found = find(cx, object, key);
    return found ? std::optional<Value>(*found) : std::nullopt;
  }
  if (!key.is_integral()) return std::nullopt;
  int64_t index = key.as_integer();
  bool indexable = object.is_string() || is_list_or_tuple(object) || object.is(Type::range);
  if (!indexable) return std::nullopt;
  int64_t size = int64_t(*length_of(object));
  if (index < 0) index += size;
  if (index < 0 || index >= size) return std::nullopt;
  if (!object.is_string()) return object.items()[size_t(index)];
  const std::string& text = object.text();
  bool ascii = text.size() == object.str().chars;
  if (!ascii) cx.spend(uint64_t(index) / 16);
  size_t at = ascii ? size_t(index) : byte_offset(text, size_t(index));
  return Value::string(cx, text.substr(at, char_bytes(text, at)), object.is_markup());
}

}  // namespace

Value get_attribute(Context& cx, const Value& object, const std::string& name) {
  if (object.is(Type::undefined)) cx.error(object.undefined_message());
  if (auto found = python_attribute(cx, object, name)) return *found;
  if (object.is(Type::dict)) {
    for (const auto& [key, value] : object.pairs()) {
      cx.spend(1);
      if (key.is_string() && key.text() == name) return value;
    }
  }
  return missing(cx, object, name);
}

Value get_item(Context& cx, const Value& object, const Value& key) {
  if (object.is(Type::undefined)) cx.error(object.undefined_message());
  if (auto found = python_item(cx, object, key)) return *found;
  if (key.is_string()) {
    if (auto found = python_attribute(cx, object, key.text())) return *found;
    return missing(cx, object, key.text());
  }
  return Value::undefined(cx,
                          object_name(object) + " has no element " + (key.is_number() ? repr(cx, key) : "like that"));
}

Value get_slice(Context& cx, const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (object.is(Type::undefined)) cx.error(object.undefined_message());
  bool sliceable = object.is_string() || is_list_or_tuple(object) || object.is(Type::range);
  if (!sliceable) cx.error("'", type_name(object), "' object has no slices");
  int64_t size = int64_t(*length_of(object));
  int64_t stride = step.is(Type::none) ? 1 : integer_argument(cx, step, "a slice's step");
  if (stride == 0) cx.error("slice step cannot be zero");
  stride = std::clamp(stride, -size - 1, size + 1);
  auto bound = [&](const Value& value, int64_t otherwise) {
    if (value.is(Type::none)) return otherwise;
    int64_t index = integer_argument(cx, value, "a slice's bound");
    if (index < 0) index = index < -size ? -1 : index + size;
    return stride > 0 ? std::clamp<int64_t>(index, 0, size) : std::clamp<int64_t>(index, -1, size - 1);
  };
  int64_t first = bound(start, stride > 0 ? 0 : size - 1);
  int64_t last = bound(stop, stride > 0 ? size : -1);
  if (!object.is_string()) {
    Items items;
    for (int64_t i = first; stride > 0 ? i < last : i > last; i += stride) {
      cx.spend(1);
      items.push_back(object.items()[size_t(i)]);
    }
    return Value::sequence(cx, object.type(), std::move(items));
  }
  const std::string& text = object.text();
  cx.spend_bytes(text.size());
  bool ascii = text.size() == object.str().chars;
  if (stride == 1) {
    if (last <= first) return Value::string(cx, "", object.is_markup());
    size_t begin = ascii ? size_t(first) : byte_offset(text, size_t(first));
    size_t count =
        ascii ? size_t(last - first) : byte_offset(std::string_view(text).substr(begin), size_t(last - first));
    return Value::string(cx, text.substr(begin, count), object.is_markup());
  }
  auto chars = iterate(cx, object);
  std::string out;
  for (int64_t i = first; stride > 0 ? i < last : i > last; i += stride) out += (*chars)[size_t(i)].text();
  return Value::string(cx, out, object.is_markup());
}

}  // namespace vkmoe::jinja
