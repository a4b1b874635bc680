#include "loader/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "loader/jinja/text.h"

namespace vkmoe::jinja {

namespace {

int checked_depth(Context& cx, int inner) {
  if (inner >= Context::kMaxNesting) cx.error("more than ", Context::kMaxNesting, " containers within each other");
  return inner + 1;
}

}  // namespace

Str::Str(Context& cx, std::string text_in, bool markup)
    : Counted(cx, sizeof(Str) + text_in.size()), text(std::move(text_in)), chars(count_chars(text)), markup(markup) {
  cx.check_text(text.size());
  cx.spend_bytes(text.size());
}

Seq::Seq(Context& cx, Items items_in, std::string label)
    : Counted(cx, sizeof(Seq) + items_in.size() * sizeof(Value)),
      items(std::move(items_in)),
      label(std::move(label)) {
  cx.spend(items.size());
  for (const Value& item : items) depth = std::max(depth, item.depth());
  depth = checked_depth(cx, depth);
}

Dict::Dict(Context& cx, Pairs pairs_in)
    : Counted(cx, sizeof(Dict) + pairs_in.size() * 2 * sizeof(Value)), pairs(std::move(pairs_in)) {
  cx.spend(pairs.size());
  for (const auto& [key, value] : pairs) depth = std::max({depth, key.depth(), value.depth()});
  depth = checked_depth(cx, depth);
}

Loop::Loop(Context& cx, std::shared_ptr<const Items> items_in, bool sized)
    : Counted(cx, sizeof(Loop)), items(std::move(items_in)) {
  if (sized) length = int64_t(items->size());
  cx.spend(items->size());
  for (const Value& item : *items) depth = std::max(depth, item.depth());
  depth = checked_depth(cx, depth);
}

const Value* Loop::pull() {
  if (!items) return nullptr;
  while (cursor < items->size()) {
    cx_.spend(1);
    const Value& item = (*items)[cursor++];
    if (!test || test(item)) return &item;
  }
  return nullptr;
}

bool Loop::advance() {
  if (!after) {
    const Value* next = pull();
    if (!next) return false;
    after = *next;
  }
  ++index0;
  before = std::move(current);
  current = std::move(*after);
  after.reset();
  return true;
}

const Value* Loop::peek() {
  if (!after) {
    const Value* next = pull();
    if (next) after = *next;
  }
  return after ? &*after : nullptr;
}

int64_t Loop::count() {
  if (!length) {
    while (const Value* item = pull()) kept_.push_back(*item);
    length = int64_t(kept_.size()) + index0 + 1 + (after ? 1 : 0);
    items = std::make_shared<const Items>(std::move(kept_));
    cursor = 0;
    test = nullptr;
  }
  return *length;
}

Value Value::from_json(Context& cx, const nlohmann::ordered_json& json) {
  Depth depth(cx);
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean: return boolean(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer: return integer(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned: {
      uint64_t number = json.get<uint64_t>();
      if (number > uint64_t(std::numeric_limits<int64_t>::max()))
        cx.unsupported("the integer ", number, " is too large");
      return integer(int64_t(number));
    }
    case nlohmann::ordered_json::value_t::number_float: return floating(json.get<double>());
    case nlohmann::ordered_json::value_t::string: return string(cx, json.get_ref<const std::string&>());
    case nlohmann::ordered_json::value_t::array: {
      Items items;
      for (const auto& item : json) items.push_back(from_json(cx, item));
      return list(cx, std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      Pairs pairs;
      for (const auto& [key, value] : json.items()) pairs.emplace_back(string(cx, key), from_json(cx, value));
      return dict(cx, std::move(pairs));
    }
    default: return none();
  }
}

int Value::depth() const {
  if (is_sequence()) return seq().depth;
  if (type_ == Type::dict) return static_cast<const Dict*>(object_.get())->depth;
  if (type_ == Type::function) return function().self.depth();
  return type_ == Type::loop ? loop().depth : 0;
}

const char* type_name(const Value& value) {
  constexpr const char* names[] = {"Undefined", "NoneType", "bool",      "int",         "float",
                                   "str",       "list",     "tuple",     "range",       "dict view",
                                   "generator", "dict",     "Namespace", "LoopContext", "function"};
  return names[size_t(value.type())];
}

bool truthy(const Value& value) {
  switch (value.type()) {
    case Type::undefined:
    case Type::none: return false;
    case Type::boolean:
    case Type::integer: return value.as_integer() != 0;
    case Type::floating: return value.as_double() != 0;
    case Type::string: return !value.text().empty();
    case Type::list:
    case Type::tuple:
    case Type::range:
    case Type::view: return !value.items().empty();
    case Type::dict: return !value.pairs().empty();
    default: return true;
  }
}

bool equal(Context& cx, const Value& a, const Value& b) {
  cx.spend(1);
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.as_integer() == b.as_integer();
    return a.as_double() == b.as_double();
  }
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::undefined:
    case Type::none: return true;
    case Type::string: cx.spend_bytes(a.text().size()); return a.text() == b.text();
    case Type::list:
    case Type::tuple:
    case Type::range: {
      const Items &x = a.items(), &y = b.items();
      if (x.size() != y.size()) return false;
      for (size_t i = 0; i < x.size(); ++i) {
        if (!equal(cx, x[i], y[i])) return false;
      }
      return true;
    }
    case Type::dict: {
      if (a.pairs().size() != b.pairs().size()) return false;
      for (const auto& [key, value] : a.pairs()) {
        const Value* other = find(cx, b, key);
        if (!other || !equal(cx, value, *other)) return false;
      }
      return true;
    }
    default: return a.identity() == b.identity();
  }
}

bool less(Context& cx, const Value& a, const Value& b, const char* op) {
  cx.spend(1);
  if (a.is(Type::undefined)) cx.error(a.undefined_message());
  if (b.is(Type::undefined)) cx.error(b.undefined_message());
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.as_integer() < b.as_integer();
    if (std::isnan(a.as_double()) || std::isnan(b.as_double())) cx.unsupported("nan has no order");
    return a.as_double() < b.as_double();
  }
  if (a.is_string() && b.is_string()) {
    cx.spend_bytes(std::min(a.text().size(), b.text().size()));
    return a.text() < b.text();  // bytes of UTF-8 sort as code points do
  }
  if (a.type() == b.type() && (a.is(Type::list) || a.is(Type::tuple))) {
    const Items &x = a.items(), &y = b.items();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equal(cx, x[i], y[i])) return less(cx, x[i], y[i], op);
    }
    return x.size() < y.size();
  }
  cx.error("'", op, "' not supported between instances of '", type_name(a), "' and '", type_name(b), "'");
}

bool contains(Context& cx, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) cx.error("'in <string>' requires string as left operand, not ", type_name(item));
    cx.spend_bytes(container.text().size());
    return find_text(container.text(), item.text()) != std::string::npos;
  }
  if (container.is(Type::dict)) return find(cx, container, item) != nullptr;
  if (!is_iterable(container)) cx.error("argument of type '", type_name(container), "' is not iterable");
  auto items = iterate(cx, container);
  return std::any_of(items->begin(), items->end(), [&](const Value& other) { return equal(cx, item, other); });
}

namespace {

void write_repr(Context& cx, TextBuilder& out, const Value& value);

void write_items(Context& cx, TextBuilder& out, const Items& items, const char* open, const char* close) {
  out.append(open);
  for (size_t i = 0; i < items.size(); ++i) {
    if (i) out.append(", ");
    write_repr(cx, out, items[i]);
  }
  out.append(close);
}

void write_repr(Context& cx, TextBuilder& out, const Value& value) {
  Depth depth(cx);
  switch (value.type()) {
    case Type::undefined: out.append("Undefined"); break;
    case Type::none: out.append("None"); break;
    case Type::boolean: out.append(value.as_integer() ? "True" : "False"); break;
    case Type::integer: out.append(std::to_string(value.as_integer())); break;
    case Type::floating: out.append(float_repr(value.as_double())); break;
    case Type::string:
      out.append(value.is_markup() ? "Markup(" + string_repr(value.text()) + ")" : string_repr(value.text()));
      break;
    case Type::list: write_items(cx, out, value.items(), "[", "]"); break;
    case Type::tuple: write_items(cx, out, value.items(), "(", value.items().size() == 1 ? ",)" : ")"); break;
    case Type::range:
      if (value.seq().label.empty()) cx.unsupported("a slice of a range has no text");
      out.append(value.seq().label);
      break;
    case Type::view:
      out.append(value.seq().label);
      write_items(cx, out, value.items(), "([", "])");
      break;
    case Type::dict: {
      const char* separator = "{";
      for (const auto& [key, item] : value.pairs()) {
        out.append(separator);
        write_repr(cx, out, key);
        out.append(": ");
        write_repr(cx, out, item);
        separator = ", ";
      }
      out.append(value.pairs().empty() ? "{}" : "}");
      break;
    }
    case Type::space: {
      const char* separator = "<Namespace {";
      for (const auto& [name, item] : value.space().attributes) {
        out.append(separator + string_repr(name) + ": ");
        write_repr(cx, out, item);
        separator = ", ";
      }
      out.append(value.space().attributes.empty() ? "<Namespace {}>" : "}>");
      break;
    }
    default: cx.unsupported("a ", type_name(value), " has no text");
  }
}

}  // namespace

std::string repr(Context& cx, const Value& value) {
  TextBuilder out(cx);
  write_repr(cx, out, value);
  return out.text();
}

std::string to_text(Context& cx, const Value& value) {
  if (value.is_string()) return value.text();
  if (value.is(Type::undefined)) return "";
  return repr(cx, value);
}

std::optional<size_t> length_of(const Value& value) {
  switch (value.type()) {
    case Type::undefined: return 0;
    case Type::string: return value.str().chars;
    case Type::list:
    case Type::tuple:
    case Type::range:
    case Type::view: return value.items().size();
    case Type::dict: return value.pairs().size();
    case Type::loop: return size_t(value.loop().count());
    default: return std::nullopt;
  }
}

bool is_iterable(const Value& value) {
  return value.is_string() || value.is_sequence() || value.is(Type::dict) || value.is(Type::undefined) ||
         value.is(Type::loop);
}

std::shared_ptr<const Items> iterate(Context& cx, const Value& value) {
  if (value.is_sequence() && !value.is(Type::generator)) return value.shared_items();
  Items items;
  if (value.is(Type::generator)) {
    const Seq& seq = value.seq();
    cx.spend(seq.items.size() - seq.next);
    items.assign(seq.items.begin() + std::ptrdiff_t(seq.next), seq.items.end());
    seq.next = seq.items.size();
  } else if (value.is_string()) {
    const std::string& text = value.text();
    for (size_t pos = 0; pos < text.size();) {
      size_t bytes = char_bytes(text, pos);
      items.push_back(Value::string(cx, text.substr(pos, bytes)));
      pos += bytes;
    }
  } else if (value.is(Type::dict)) {
    cx.spend(value.pairs().size());
    for (const auto& pair : value.pairs()) items.push_back(pair.first);
  } else if (value.is(Type::loop)) {
    cx.unsupported("a walk over the loop variable");
  } else if (!value.is(Type::undefined)) {
    cx.error("'", type_name(value), "' object is not iterable");
  }
  return std::make_shared<const Items>(std::move(items));
}

namespace {

void require_hashable(Context& cx, const Value& key) {
  if (key.is(Type::list) || key.is(Type::dict)) cx.error("unhashable type: '", type_name(key), "'");
  if (!key.is(Type::tuple)) return;
  cx.spend(key.items().size());
  for (const Value& item : key.items()) require_hashable(cx, item);
}

}  // namespace

const Value* find(Context& cx, const Value& dict, const Value& key) {
  require_hashable(cx, key);
  for (const auto& pair : dict.pairs()) {
    if (equal(cx, pair.first, key)) return &pair.second;
  }
  return nullptr;
}

void insert(Context& cx, Pairs& pairs, Value key, Value value) {
  require_hashable(cx, key);
  for (auto& pair : pairs) {
    if (equal(cx, pair.first, key)) {
      pair.second = std::move(value);
      return;
    }
  }
  pairs.emplace_back(std::move(key), std::move(value));
}

void stable_sort(Context& cx, std::vector<std::pair<Value, Value>>& key_and_item, bool reverse) {
  std::stable_sort(key_and_item.begin(), key_and_item.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(cx, b.first, a.first) : less(cx, a.first, b.first);
  });
}

std::vector<const Value*> bind(Context& cx, const std::string& callee, const Args& args,
                               const std::vector<const char*>& parameters, size_t required) {
  std::vector<const Value*> bound(parameters.size(), nullptr);
  if (args.positional.size() > parameters.size()) {
    cx.error(callee, "() takes at most ", parameters.size(), " arguments, ", args.positional.size(), " given");
  }
  for (size_t i = 0; i < args.positional.size(); ++i) bound[i] = &args.positional[i];
  for (const auto& [name, value] : args.named) {
    auto found = std::find(parameters.begin(), parameters.end(), name);
    if (found == parameters.end()) cx.error(callee, "() got an unexpected keyword argument '", name, "'");
    const Value*& slot = bound[size_t(found - parameters.begin())];
    if (slot) cx.error(callee, "() got multiple values for argument '", name, "'");
    slot = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!bound[i]) cx.error(callee, "() misses the argument '", parameters[i], "'");
  }
  return bound;
}

int64_t integer_argument(Context& cx, const Value& value, const char* name) {
  if (!value.is_integral()) cx.error(name, " must be an integer, not ", type_name(value));
  return value.as_integer();
}

const std::string& string_argument(Context& cx, const Value& value, const char* name) {
  if (!value.is_string()) cx.error(name, " must be a string, not ", type_name(value));
  return value.text();
}

}  // namespace vkmoe::jinja
