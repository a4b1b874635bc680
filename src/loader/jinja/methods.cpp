// Methods of strings, dicts, lists and loops, as Python and MarkupSafe define them.
#include <algorithm>
#include <array>

#include "loader/jinja/operators.h"
#include "loader/jinja/text.h"

namespace vkmoe::jinja {

namespace {

using Names = std::vector<std::string_view>;

const Names& method_names(const Value& object) {
  static const Names str = {"capitalize",   "casefold",    "center",    "count",      "encode",       "endswith",
                            "expandtabs",   "find",        "format",    "format_map", "index",        "isalnum",
                            "isalpha",      "isascii",     "isdecimal", "isdigit",    "isidentifier", "islower",
                            "isnumeric",    "isprintable", "isspace",   "istitle",    "isupper",      "join",
                            "ljust",        "lower",       "lstrip",    "maketrans",  "partition",    "removeprefix",
                            "removesuffix", "replace",     "rfind",     "rindex",     "rjust",        "rpartition",
                            "rsplit",       "rstrip",      "split",     "splitlines", "startswith",   "strip",
                            "swapcase",     "title",       "translate", "upper",      "zfill"};
  static const Names dict = {"clear", "copy",    "fromkeys",   "get",    "items", "keys",
                             "pop",   "popitem", "setdefault", "update", "values"};
  static const Names list = {"append", "clear", "copy",   "count",   "extend", "index",
                             "insert", "pop",   "remove", "reverse", "sort"};
  static const Names tuple = {"count", "index"}, none;
  switch (object.type()) {
    case Type::string: return str;
    case Type::dict: return dict;
    case Type::list: return list;
    case Type::tuple:
    case Type::range: return tuple;
    default: return none;
  }
}

// The sandbox forbids what changes a list or dict.
bool is_mutator(const Value& object, std::string_view name) {
  static const Names dict = {"clear", "pop", "popitem", "setdefault", "update"};
  static const Names list = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"};
  const Names& names = object.is(Type::dict) ? dict : list;
  bool mutable_object = object.is(Type::dict) || object.is(Type::list);
  return mutable_object && std::find(names.begin(), names.end(), name) != names.end();
}

Value make_list(Context& cx, const std::vector<std::string_view>& parts, bool markup) {
  Items items;
  for (std::string_view part : parts) items.push_back(Value::string(cx, std::string(part), markup));
  return Value::list(cx, std::move(items));
}

Value split(Context& cx, const Value& self, const std::string& name, const Args& args) {
  auto a = bind(cx, name, args, {"sep", "maxsplit"}, 0);
  std::string_view text = self.text();
  int64_t limit = a[1] ? integer_argument(cx, *a[1], "maxsplit") : -1;
  bool right = name == "rsplit";
  size_t most = limit < 0 ? text.size() + 1 : size_t(limit);
  std::vector<std::string_view> parts;
  if (!a[0] || a[0]->is(Type::none)) {
    bool inside = false;
    for (size_t pos = 0, bytes; pos < text.size(); pos += bytes) {
      bool space = is_space(decode_char(text, pos, &bytes));
      if (!space && !inside) parts.push_back(text.substr(pos, bytes));
      if (!space && inside) parts.back() = {parts.back().data(), parts.back().size() + bytes};
      inside = !space;
    }
    if (parts.size() > most) {  // the rest stays as it is
      std::string_view word = right ? parts[parts.size() - 1 - most] : parts[most];
      size_t start = size_t(word.data() - text.data());
      std::string_view rest = right ? text.substr(0, start + word.size()) : text.substr(start);
      parts.erase(right ? parts.begin() : parts.begin() + std::ptrdiff_t(most),
                  right ? parts.end() - std::ptrdiff_t(most) : parts.end());
      parts.insert(right ? parts.begin() : parts.end(), rest);
    }
    return make_list(cx, parts, self.is_markup());
  }
  const std::string& separator = string_argument(cx, *a[0], "the separator");
  if (separator.empty()) cx.error("empty separator");
  while (parts.size() < most) {
    if (right && separator.size() > 1) cx.spend_bytes(text.size());
    size_t found = right ? find_last_text(text, separator) : find_text(text, separator);
    if (found == std::string_view::npos) break;
    parts.push_back(right ? text.substr(found + separator.size()) : text.substr(0, found));
    text = right ? text.substr(0, found) : text.substr(found + separator.size());
  }
  parts.push_back(text);
  if (right) std::reverse(parts.begin(), parts.end());
  return make_list(cx, parts, self.is_markup());
}

// The byte range of self[start:end], where arguments 1 and 2 give them.
std::pair<size_t, size_t> range_argument(Context& cx, const Value& self, const std::vector<const Value*>& a) {
  int64_t size = int64_t(self.str().chars);
  auto offset = [&](const Value* value, int64_t otherwise) {
    int64_t index = value && !value->is(Type::none) ? integer_argument(cx, *value, "a position") : otherwise;
    if (index < 0) index = index < -size ? 0 : index + size;
    return index > size ? std::string::npos : byte_offset(self.text(), size_t(index));
  };
  return {offset(a[1], 0), std::min(offset(a[2], size), self.text().size())};
}

Value starts_or_ends(Context& cx, const Value& self, const std::string& name, const Args& args) {
  auto a = bind(cx, name, args, {"prefix", "start", "end"}, 1);
  auto [begin, end] = range_argument(cx, self, a);
  std::string_view text =
      begin <= end ? std::string_view(self.text()).substr(begin, end - begin) : std::string_view();
  auto matches = [&, b = begin, e = end](const Value& value) {
    const std::string& part = string_argument(cx, value, "the prefix");
    cx.spend_bytes(part.size());
    if (b > e || part.size() > text.size()) return false;
    return text.substr(name == "startswith" ? 0 : text.size() - part.size(), part.size()) == part;
  };
  if (!a[0]->is(Type::tuple)) return Value::boolean(matches(*a[0]));
  return Value::boolean(std::any_of(a[0]->items().begin(), a[0]->items().end(), matches));
}

Value search(Context& cx, const Value& self, const std::string& name, const Args& args) {
  auto a = bind(cx, name, args, {"sub", "start", "end"}, 1);
  const std::string& part = string_argument(cx, *a[0], "the text to find");
  auto [begin, end] = range_argument(cx, self, a);
  int64_t count = 0;
  size_t found = std::string::npos;
  if (begin <= end) {
    std::string_view text = std::string_view(self.text()).substr(begin, end - begin);
    if (name == "count") {
      if (part.empty()) return Value::integer(int64_t(count_chars(text)) + 1);
      for (size_t pos = 0; (pos = find_text(text, part, pos)) != std::string::npos; pos += part.size()) ++count;
    } else {
      found = name[0] == 'r' ? find_last_text(text, part) : find_text(text, part);
    }
  }
  if (name == "count") return Value::integer(count);
  if (found != std::string::npos) {
    return Value::integer(int64_t(count_chars(std::string_view(self.text()).substr(0, begin + found))));
  }
  if (name == "index" || name == "rindex") cx.error("substring not found");
  return Value::integer(-1);
}

Value partition(Context& cx, const Value& self, const std::string& name, const Args& args) {
  auto a = bind(cx, name, args, {"sep"}, 1);
  const std::string &text = self.text(), &separator = string_argument(cx, *a[0], "the separator");
  if (separator.empty()) cx.error("empty separator");
  size_t found = name == "partition" ? find_text(text, separator) : find_last_text(text, separator);
  std::array<std::string, 3> parts = {text, "", ""};
  if (found != std::string::npos) {
    parts = {text.substr(0, found), separator, text.substr(found + separator.size())};
  } else if (name == "rpartition") {
    parts = {"", "", text};
  }
  Items items;
  for (const std::string& part : parts) items.push_back(Value::string(cx, part, self.is_markup()));
  return Value::tuple(cx, std::move(items));
}

Value join(Context& cx, const Value& self, const Args& args) {
  auto a = bind(cx, "join", args, {"iterable"}, 1);
  TextBuilder out(cx);
  bool first = true;
  for (auto walked = iterate(cx, *a[0]); const Value& item : *walked) {
    if (!std::exchange(first, false)) out.append(self.text());
    const std::string& text = string_argument(cx, item, "what join() puts together");
    out.append(self.is_markup() && !item.is_markup() ? escape_html(text) : text);
  }
  return Value::string(cx, out.text(), self.is_markup());
}

Value justify(Context& cx, const Value& self, const std::string& name, const Args& args) {
  auto a = bind(cx, name, args, {"width", "fillchar"}, 1);
  int64_t size = int64_t(self.str().chars), width = integer_argument(cx, *a[0], "width");
  std::string fill = name == "zfill" ? "0" : a[1] ? string_argument(cx, *a[1], "fillchar") : " ";
  if (count_chars(fill) != 1) cx.error("the fill character must be exactly one character long");
  int64_t missing = std::max<int64_t>(0, width - size);
  int64_t left = name == "ljust" ? 0 : missing;
  if (name == "center") left = missing / 2 + (missing & width & 1);
  const std::string& text = self.text();
  size_t sign = name == "zfill" && !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  TextBuilder out(cx);
  out.append(text.substr(0, sign));
  out.repeat(fill, left);
  out.append(text.substr(sign));
  out.repeat(fill, missing - left);
  return Value::string(cx, out.text(), self.is_markup());
}

// isdigit() and the like: all characters are of the class, and there is one.
std::optional<bool> check_class(const Value& self, const std::string& name) {
  const std::string& text = self.text();
  bool all = true, cased = false, wrong_case = false;
  size_t bytes;
  if (name == "isascii") return std::all_of(text.begin(), text.end(), [](char c) { return uint8_t(c) < 0x80; });
  for (size_t pos = 0; pos < text.size(); pos += bytes) {
    char32_t c = decode_char(text, pos, &bytes);
    if (name == "isspace") {
      all &= is_space(c);
    } else if (name == "isprintable") {
      all &= !is_class(c, CharClass::unprintable);
    } else if (name == "isdigit" || name == "isdecimal" || name == "isnumeric") {
      all &= is_class(c, CharClass::decimal);
    } else if (name == "isalpha") {
      all &= is_class(c, CharClass::letter);
    } else if (name == "isalnum") {
      all &= is_class(c, CharClass::alphanumeric);
    } else if (name == "islower" || name == "isupper") {
      bool is_lower = is_class(c, CharClass::lower), is_upper = is_class(c, CharClass::upper);
      cased |= is_lower || is_upper;
      wrong_case |= name == "islower" ? is_upper : is_lower;
    } else {
      return std::nullopt;
    }
  }
  if (name == "islower" || name == "isupper") return cased && !wrong_case;
  return all && (!text.empty() || name == "isprintable");
}

std::string title(const std::string& text) {
  std::string out;
  bool inside = false;  // of a word
  size_t bytes;
  for (size_t pos = 0; pos < text.size(); pos += bytes) {
    char32_t c = decode_char(text, pos, &bytes);
    std::string_view part = std::string_view(text).substr(pos, bytes);
    out += inside ? lower(part) : upper(part);
    inside = is_class(c, CharClass::letter);
  }
  return out;
}

Value string_method(Context& cx, const Value& self, const std::string& name, const Args& args) {
  const std::string& text = self.text();
  bool markup = self.is_markup();
  cx.spend_bytes(text.size() + 1);
  auto result = [&](std::string_view out) { return Value::string(cx, std::string(out), markup); };
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    auto a = bind(cx, name, args, {"chars"}, 0);
    const std::string* chars = a[0] && !a[0]->is(Type::none) ? &string_argument(cx, *a[0], "chars") : nullptr;
    if (chars) cx.spend(chars->size());
    return result(strip(text, chars, name != "rstrip", name != "lstrip"));
  }
  if (name == "split" || name == "rsplit") return split(cx, self, name, args);
  if (name == "startswith" || name == "endswith") return starts_or_ends(cx, self, name, args);
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex" || name == "count") {
    return search(cx, self, name, args);
  }
  if (name == "partition" || name == "rpartition") return partition(cx, self, name, args);
  if (name == "join") return join(cx, self, args);
  if (name == "center" || name == "ljust" || name == "rjust" || name == "zfill") return justify(cx, self, name, args);
  if (name == "format") return result(str_format(cx, text, args));
  if (name == "replace") {
    auto a = bind(cx, name, args, {"old", "new", "count"}, 2);
    std::string to = string_argument(cx, *a[1], "the new text");
    if (markup && !a[1]->is_markup()) to = escape_html(to);
    int64_t count = a[2] ? integer_argument(cx, *a[2], "count") : -1;
    return result(replace_text(cx, text, string_argument(cx, *a[0], "the old text"), to, count));
  }
  if (name == "removeprefix" || name == "removesuffix") {
    auto a = bind(cx, name, args, {"affix"}, 1);
    const std::string& affix = string_argument(cx, *a[0], "the affix");
    bool prefix = name == "removeprefix";
    bool there = affix.size() <= text.size() &&
                 text.compare(prefix ? 0 : text.size() - affix.size(), affix.size(), affix) == 0;
    return there ? result(prefix ? text.substr(affix.size()) : text.substr(0, text.size() - affix.size()))
                 : result(text);
  }
  if (name == "splitlines") {
    auto a = bind(cx, name, args, {"keepends"}, 0);
    return Value::list(cx, split_lines(cx, text, a[0] && truthy(*a[0]), markup));
  }
  bind(cx, name, args, {}, 0);
  if (name == "upper") return result(upper(text));
  if (name == "lower" || name == "casefold") return result(lower(text));
  if (name == "capitalize") return result(capitalize(text));
  if (name == "title") return result(title(text));
  cx.spend(text.size());
  if (auto answer = check_class(self, name)) return Value::boolean(*answer);
  cx.unsupported("the method str.", name);
}

Value dict_method(Context& cx, const Value& self, const std::string& name, const Args& args) {
  if (name == "get") {
    auto a = bind(cx, name, args, {"key", "default"}, 1);
    const Value* found = find(cx, self, *a[0]);
    return found ? *found : a[1] ? *a[1] : Value::none();
  }
  bind(cx, name, args, {}, 0);
  if (name == "copy") return self;
  if (name != "items" && name != "keys" && name != "values") cx.unsupported("the method dict.", name);
  Items items;
  cx.spend(self.pairs().size());
  for (const auto& [key, value] : self.pairs()) {
    items.push_back(name == "keys" ? key : name == "values" ? value : Value::tuple(cx, {key, value}));
  }
  return Value::sequence(cx, Type::view, std::move(items), "dict_" + name);
}

Value list_method(Context& cx, const Value& self, const std::string& name, const Args& args) {
  if (name == "copy") return self;
  if (name != "count" && name != "index") cx.unsupported("the method ", type_name(self), ".", name);
  auto a = bind(cx, name, args, {"value"}, 1);
  int64_t count = 0;
  for (size_t i = 0; i < self.items().size(); ++i) {
    if (!equal(cx, self.items()[i], *a[0])) continue;
    if (name == "index") return Value::integer(int64_t(i));
    ++count;
  }
  if (name == "index") cx.error("the value is not in the ", type_name(self));
  return Value::integer(count);
}

Value loop_cycle(Context& cx, const Loop& loop, const Args& args) {
  if (!args.named.empty()) cx.error("loop.cycle() takes no keyword arguments");
  if (args.positional.empty()) cx.error("no items for cycling given");
  return args.positional[size_t(loop.index0) % args.positional.size()];
}

}  // namespace

std::optional<Value> find_method(Context& cx, const Value& object, const std::string& name) {
  const Names& names = method_names(object);
  if (std::find(names.begin(), names.end(), name) == names.end()) return std::nullopt;
  if (is_mutator(object, name)) {
    return Value::undefined(
        cx, "the sandbox does not let a template call " + std::string(type_name(object)) + "." + name);
  }
  return Value::function(std::make_shared<Function>(cx, name, object, nullptr));
}

Value call_method(Context& cx, const Function& method, const Args& args) {
  switch (method.self.type()) {
    case Type::string: return string_method(cx, method.self, method.name, args);
    case Type::dict: return dict_method(cx, method.self, method.name, args);
    case Type::loop: return loop_cycle(cx, method.self.loop(), args);
    default: return list_method(cx, method.self, method.name, args);
  }
}

}  // namespace vkmoe::jinja
