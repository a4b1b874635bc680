// The values that a template computes with, with Python's rules for truth, equality, order and text.
#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "loader/jinja/context.h"

namespace vkmoe::jinja {

class Value;
struct Macro;
struct Loop;

// view: dict.items() and the like; generator: what can be walked once (map, select, ...); space: namespace().
enum class Type : uint8_t {
  undefined,
  none,
  boolean,
  integer,
  floating,
  string,
  list,
  tuple,
  range,
  view,
  generator,
  dict,
  space,
  loop,
  function
};

using Items = std::vector<Value>;
using Pairs = std::vector<std::pair<Value, Value>>;

struct Str : Counted {
  Str(Context& cx, std::string text, bool markup);
  std::string text;
  size_t chars;  // code points
  bool markup;   // marked by `safe` or `escape`: what is added to it gets escaped
};

struct Seq : Counted {
  Seq(Context& cx, Items items, std::string label);
  Items items;
  std::string label;        // how a range or view prints
  mutable size_t next = 0;  // of a generator
  int depth = 0;
};

struct Dict : Counted {
  Dict(Context& cx, Pairs pairs);
  Pairs pairs;  // in order of insertion; keys differ
  int depth = 0;
};

// Owned by the interpreter, because a namespace may contain itself.
struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

// A built-in function, a method with its object, or a macro.
struct Function;

class Value {
 public:
  Value() = default;
  static Value none() { return Value(Type::none); }
  static Value boolean(bool b) { return Value(Type::boolean, b); }
  static Value integer(int64_t i) { return Value(Type::integer, i); }
  static Value floating(double d) {
    Value value(Type::floating);
    value.double_ = d;
    return value;
  }
  static Value string(Context& cx, std::string text, bool markup = false) {
    return Value(Type::string, std::make_shared<Str>(cx, std::move(text), markup));
  }
  // message: what using it says.
  static Value undefined(Context& cx, std::string message) {
    return Value(Type::undefined, std::make_shared<Str>(cx, std::move(message), false));
  }
  static Value sequence(Context& cx, Type type, Items items, std::string label = "") {
    return Value(type, std::make_shared<Seq>(cx, std::move(items), std::move(label)));
  }
  static Value list(Context& cx, Items items) { return sequence(cx, Type::list, std::move(items)); }
  static Value tuple(Context& cx, Items items) { return sequence(cx, Type::tuple, std::move(items)); }
  static Value generator(Context& cx, Items items) { return sequence(cx, Type::generator, std::move(items)); }
  static Value dict(Context& cx, Pairs pairs) {
    return Value(Type::dict, std::make_shared<Dict>(cx, std::move(pairs)));
  }
  static Value space(Namespace* space) {
    Value value(Type::space);
    value.space_ = space;
    return value;
  }
  static Value loop(std::shared_ptr<Loop> loop) { return Value(Type::loop, std::move(loop)); }
  static Value function(std::shared_ptr<Function> function) { return Value(Type::function, std::move(function)); }
  static Value from_json(Context& cx, const nlohmann::ordered_json& json);

  Type type() const { return type_; }
  bool is(Type type) const { return type_ == type; }
  bool is_string() const { return type_ == Type::string; }
  bool is_integral() const { return type_ == Type::integer || type_ == Type::boolean; }
  bool is_number() const { return is_integral() || type_ == Type::floating; }
  bool is_sequence() const { return type_ >= Type::list && type_ <= Type::generator; }

  int64_t as_integer() const { return integer_; }  // integral
  double as_double() const { return type_ == Type::floating ? double_ : double(integer_); }
  const Str& str() const { return *static_cast<const Str*>(object_.get()); }
  const std::string& text() const { return str().text; }  // string
  bool is_markup() const { return is_string() && str().markup; }
  const Seq& seq() const { return *static_cast<const Seq*>(object_.get()); }
  const Items& items() const { return seq().items; }
  const Pairs& pairs() const { return static_cast<const Dict*>(object_.get())->pairs; }
  Namespace& space() const { return *space_; }
  Loop& loop() const { return *static_cast<Loop*>(object_.get()); }
  const Function& function() const { return *static_cast<const Function*>(object_.get()); }
  const void* identity() const { return type_ == Type::space ? space_ : object_.get(); }
  std::string undefined_message() const { return object_ ? text() : "the value is undefined"; }
  int depth() const;  // of containers in it

  // A sequence's items without a copy; they live as long as the pointer.
  std::shared_ptr<const Items> shared_items() const { return std::shared_ptr<const Items>(object_, &items()); }

 private:
  explicit Value(Type type, int64_t integer = 0) : type_(type), integer_(integer) {}
  Value(Type type, std::shared_ptr<void> object) : type_(type), object_(std::move(object)) {}

  Type type_ = Type::undefined;
  union {
    int64_t integer_ = 0;
    double double_;
    Namespace* space_;
  };
  std::shared_ptr<void> object_;
};

struct Function : Counted {
  Function(Context& cx, std::string name, Value self, Macro* macro)
      : Counted(cx, sizeof(Function)), name(std::move(name)), self(std::move(self)), macro(macro) {}
  std::string name;
  Value self;    // of a method
  Macro* macro;  // not owned; null for what is built in
};

// What for loops walk over, and their `loop` variable.
struct Loop : Counted {
  Loop(Context& cx, std::shared_ptr<const Items> items, bool sized);
  std::shared_ptr<const Items> items;      // null after the loop
  std::function<bool(const Value&)> test;  // of `for x in y if test`
  size_t cursor = 0;
  int64_t index0 = -1;
  int depth = 0;  // of containers in the items
  std::optional<int64_t> length;
  std::optional<Value> before, current, after;

  bool advance();       // to the next item that passes the test
  const Value* peek();  // the one after it, or null
  int64_t count();      // of all items
 private:
  const Value* pull();
  Items kept_;  // items that passed the test ahead of time
};

// Arguments of a call.
struct Args {
  Items positional;
  std::vector<std::pair<std::string, Value>> named;
};

// The arguments by parameter, null where missing; fails on too many or unknown ones. The first `required` must be
// there.
std::vector<const Value*> bind(Context& cx, const std::string& callee, const Args& args,
                               const std::vector<const char*>& parameters, size_t required);

const char* type_name(const Value& value);  // as Python calls it
bool truthy(const Value& value);
bool equal(Context& cx, const Value& a, const Value& b);
bool less(Context& cx, const Value& a, const Value& b, const char* op = "<");
bool contains(Context& cx, const Value& container, const Value& item);
std::string to_text(Context& cx, const Value& value);  // str()
std::string repr(Context& cx, const Value& value);
std::optional<size_t> length_of(const Value& value);  // len()
std::shared_ptr<const Items> iterate(Context& cx, const Value& value);
bool is_iterable(const Value& value);
const Value* find(Context& cx, const Value& dict, const Value& key);
void insert(Context& cx, Pairs& pairs, Value key, Value value);  // replaces the value of an equal key
void stable_sort(Context& cx, std::vector<std::pair<Value, Value>>& key_and_item, bool reverse);

// An integer argument; fails with the name.
int64_t integer_argument(Context& cx, const Value& value, const char* name);
const std::string& string_argument(Context& cx, const Value& value, const char* name);

}  // namespace vkmoe::jinja
