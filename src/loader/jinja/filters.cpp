// Filters. Follows jinja2/filters.py; `safe` and `escape` mark a string, as MarkupSafe does.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <locale>
#include <sstream>

#include "loader/jinja/operators.h"
#include "loader/jinja/text.h"

namespace vkmoe::jinja {

std::string replace_text(Context& cx, const std::string& text, const std::string& from, const std::string& to,
                         int64_t count) {
  TextBuilder out(cx);
  size_t pos = 0;
  for (; count != 0; --count) {
    size_t found = from.empty() ? pos : find_text(text, from, pos);
    if (found == std::string::npos) break;
    out.append(std::string_view(text).substr(pos, found - pos));
    out.append(to);
    pos = found + from.size();
    if (!from.empty()) continue;
    if (pos >= text.size()) break;  // the empty text stands before each character and at the end
    size_t bytes = char_bytes(text, pos);
    out.append(std::string_view(text).substr(pos, bytes));
    pos += bytes;
  }
  out.append(std::string_view(text).substr(std::min(pos, text.size())));
  return out.text();
}

Items split_lines(Context& cx, const std::string& text, bool keep_ends, bool markup) {
  Items lines;
  for (size_t pos = 0; pos < text.size();) {
    size_t end = pos, bytes = 0;
    for (; end < text.size(); end += bytes) {
      char32_t c = decode_char(text, end, &bytes);
      if ((c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029) break;
    }
    size_t next = end < text.size() ? end + bytes : end;
    if (end < text.size() && text.compare(end, 2, "\r\n") == 0) ++next;
    lines.push_back(Value::string(cx, text.substr(pos, (keep_ends ? next : end) - pos), markup));
    pos = next;
  }
  return lines;
}

std::optional<double> parse_float(const std::string& text) {
  std::string trimmed(strip(text, nullptr, true, true));
  double value = 0;
  std::istringstream in(trimmed);
  in.imbue(std::locale::classic());
  if (!(in >> value) || in.peek() != std::istringstream::traits_type::eof()) return std::nullopt;
  return value;
}

Value float_to_integer(Context& cx, double value) {
  if (!(std::abs(value) < 9.2e18)) cx.unsupported("an integer that does not fit in 64 bits");
  return Value::integer(int64_t(value));
}

Value dict_of(Context& cx, const Args& args) {
  Pairs pairs;
  if (args.positional.size() > 1) cx.error("dict expected at most 1 argument, got ", args.positional.size());
  if (!args.positional.empty() && args.positional[0].is(Type::dict)) {
    pairs = args.positional[0].pairs();
  } else if (!args.positional.empty()) {
    for (auto walked = iterate(cx, args.positional[0]); const Value& item : *walked) {
      auto pair = iterate(cx, item);
      if (pair->size() != 2) cx.error("dict() needs pairs");
      insert(cx, pairs, (*pair)[0], (*pair)[1]);
    }
  }
  for (const auto& [name, value] : args.named) insert(cx, pairs, Value::string(cx, name), value);
  return Value::dict(cx, std::move(pairs));
}

namespace {

using Bound = std::vector<const Value*>;

// "a.b.0" of an item; null attribute: the item itself.
Value get_path(Context& cx, Value item, const Value* attribute) {
  if (!attribute || attribute->is(Type::none)) return item;
  if (!attribute->is_string()) return get_item(cx, item, *attribute);
  cx.spend_bytes(attribute->text().size());
  std::stringstream path(attribute->text());
  for (std::string part; std::getline(path, part, '.');) {
    bool number = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
    item = get_item(cx, item, number ? Value::integer(std::stoll(part)) : Value::string(cx, part));
  }
  return item;
}

Value ignore_case(Context& cx, const Value& value) {
  return value.is_string() ? Value::string(cx, lower(value.text())) : value;
}

bool flag(const Value* value) { return value && truthy(*value); }

Value sort_key(Context& cx, const Value& item, const Value* attribute, bool case_sensitive) {
  Value key = get_path(cx, item, attribute);
  return case_sensitive ? key : ignore_case(cx, key);
}

Value sort(Context& cx, const Value& value, const Args& args) {
  auto a = bind(cx, "sort", args, {"reverse", "case_sensitive", "attribute"}, 0);
  Pairs keyed;
  for (auto walked = iterate(cx, value); const Value& item : *walked) {
    Items keys;  // a list, so that undefined ones are equal and not compared
    if (a[2] && a[2]->is_string()) {
      std::stringstream paths(a[2]->text());
      for (std::string path; std::getline(paths, path, ',');) {
        Value attribute = Value::string(cx, path);
        keys.push_back(sort_key(cx, item, &attribute, flag(a[1])));
      }
    } else {
      keys.push_back(sort_key(cx, item, a[2], flag(a[1])));
    }
    keyed.emplace_back(Value::list(cx, std::move(keys)), item);
  }
  stable_sort(cx, keyed, flag(a[0]));
  Items items;
  for (auto& pair : keyed) items.push_back(pair.second);
  return Value::list(cx, std::move(items));
}

Value dictsort(Context& cx, const Value& value, const Args& args) {
  auto a = bind(cx, "dictsort", args, {"case_sensitive", "by", "reverse"}, 0);
  if (!value.is(Type::dict)) cx.error("'", type_name(value), "' has no items to sort");
  bool by_value = a[1] && string_argument(cx, *a[1], "by") == "value";
  if (a[1] && !by_value && a[1]->text() != "key") cx.error("You can only sort by either \"key\" or \"value\"");
  Pairs keyed;
  for (const auto& [key, item] : value.pairs()) {
    keyed.emplace_back(sort_key(cx, by_value ? item : key, nullptr, flag(a[0])), Value::tuple(cx, {key, item}));
  }
  stable_sort(cx, keyed, flag(a[2]));
  Items items;
  for (auto& pair : keyed) items.push_back(pair.second);
  return Value::list(cx, std::move(items));
}

Value unique(Context& cx, const Value& value, const Args& args) {
  auto a = bind(cx, "unique", args, {"case_sensitive", "attribute"}, 0);
  Pairs seen;
  for (auto walked = iterate(cx, value); const Value& item : *walked) {
    Value key = sort_key(cx, item, a[1], flag(a[0]));
    bool known = std::any_of(seen.begin(), seen.end(), [&](const auto& pair) { return equal(cx, pair.first, key); });
    if (!known) insert(cx, seen, key, item);
  }
  Items items;
  for (auto& pair : seen) items.push_back(pair.second);
  return Value::generator(cx, std::move(items));
}

Value min_or_max(Context& cx, bool max, const Value& value, const Args& args) {
  auto a = bind(cx, max ? "max" : "min", args, {"case_sensitive", "attribute"}, 0);
  std::optional<Value> best, best_key;
  for (auto walked = iterate(cx, value); const Value& item : *walked) {
    Value key = sort_key(cx, item, a[1], flag(a[0]));
    if (best && !(max ? less(cx, *best_key, key) : less(cx, key, *best_key))) continue;
    best = item;
    best_key = key;
  }
  return best ? *best : Value::undefined(cx, "No aggregated item, sequence was empty.");
}

Value sum(Context& cx, const Value& value, const Args& args) {
  auto a = bind(cx, "sum", args, {"attribute", "start"}, 0);
  Value total = a[1] ? *a[1] : Value::integer(0);
  if (total.is_string()) cx.error("sum() can't sum strings");
  for (auto walked = iterate(cx, value); const Value& item : *walked)
    total = binary(cx, "+", total, get_path(cx, item, a[0]));
  return total;
}

Value map(Context& cx, const Value& value, const Args& args) {
  Items items;
  if (!truthy(value)) return Value::generator(cx, {});
  if (args.positional.empty()) {
    auto a = bind(cx, "map", args, {"attribute", "default"}, 1);
    for (auto walked = iterate(cx, value); const Value& item : *walked) {
      Value found = get_path(cx, item, a[0]);
      bool use_default = found.is(Type::undefined) && a[1] && !a[1]->is(Type::none);
      items.push_back(use_default ? *a[1] : found);
    }
  } else {
    const std::string& name = string_argument(cx, args.positional[0], "the filter's name");
    Args rest{Items(args.positional.begin() + 1, args.positional.end()), args.named};
    for (auto walked = iterate(cx, value); const Value& item : *walked)
      items.push_back(apply_filter(cx, name, item, rest));
  }
  return Value::generator(cx, std::move(items));
}

// select, reject, selectattr, rejectattr
Value select(Context& cx, const std::string& name, const Value& value, const Args& args) {
  bool by_attribute = name.size() > 6, wanted = name[0] == 's';
  size_t first = by_attribute ? 1 : 0;
  if (args.positional.size() < first) cx.error("Missing parameter for attribute name");
  if (!truthy(value)) return Value::generator(cx, {});
  Args rest{{}, args.named};
  bool has_test = args.positional.size() > first;
  if (has_test) rest.positional.assign(args.positional.begin() + std::ptrdiff_t(first) + 1, args.positional.end());
  Items items;
  for (auto walked = iterate(cx, value); const Value& item : *walked) {
    Value subject = by_attribute ? get_path(cx, item, &args.positional[0]) : item;
    bool passes = has_test
                      ? apply_test(cx, string_argument(cx, args.positional[first], "the test's name"), subject, rest)
                      : truthy(subject);
    if (passes == wanted) items.push_back(item);
  }
  return Value::generator(cx, std::move(items));
}

Value first_or_last(Context& cx, bool last, const Value& value) {
  if (value.is(Type::generator)) {
    if (last) cx.error("'generator' object is not reversible");
    const Seq& seq = value.seq();
    return seq.next < seq.items.size() ? seq.items[seq.next++]
                                       : Value::undefined(cx, "No first item, sequence was empty.");
  }
  if (value.is_string() && !value.text().empty()) return get_item(cx, value, Value::integer(last ? -1 : 0));
  auto items = iterate(cx, value);
  if (items->empty())
    return Value::undefined(cx, last ? "No last item, sequence was empty." : "No first item, sequence was empty.");
  return last ? items->back() : items->front();
}

Value join(Context& cx, const Value& value, const Args& args) {
  auto a = bind(cx, "join", args, {"d", "attribute"}, 0);
  std::string separator = a[0] ? to_text(cx, *a[0]) : "";
  TextBuilder out(cx);
  bool first = true;
  for (auto walked = iterate(cx, value); const Value& item : *walked) {
    if (!std::exchange(first, false)) out.append(separator);
    out.append(to_text(cx, get_path(cx, item, a[1])));
  }
  return Value::string(cx, out.text());
}

Value indent(Context& cx, const Value& value, const Args& args) {
  auto a = bind(cx, "indent", args, {"width", "first", "blank"}, 0);
  if (!value.is_string()) cx.error("indent needs a string, not ", type_name(value));
  TextBuilder indention(cx), out(cx);
  if (a[0] && a[0]->is_string()) {
    indention.append(a[0]->text());
  } else {
    indention.repeat(" ", a[0] ? integer_argument(cx, *a[0], "width") : 4);
  }
  bool first = true;
  for (const Value& line : split_lines(cx, value.text() + "\n", false, false)) {
    if (!first) out.append("\n");
    if (first ? flag(a[1]) : flag(a[2]) || !line.text().empty()) out.append(indention.text());
    out.append(line.text());
    first = false;
  }
  return Value::string(cx, out.text(), value.is_markup());
}

std::string title(const std::string& text) {  // words begin after any of these, unlike str.title()
  std::string out;
  bool start = true;
  size_t bytes;
  for (size_t pos = 0; pos < text.size(); pos += bytes) {
    char32_t c = decode_char(text, pos, &bytes);
    std::string_view part = std::string_view(text).substr(pos, bytes);
    out += start ? upper(part) : lower(part);
    start = is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  }
  return out;
}

Value to_integer(Context& cx, const Value& value, const Args& args) {
  auto a = bind(cx, "int", args, {"default", "base"}, 0);
  if (value.is(Type::undefined)) cx.error(value.undefined_message());
  Value otherwise = a[0] ? *a[0] : Value::integer(0);
  if (value.is_integral()) return Value::integer(value.as_integer());
  std::optional<double> number;
  if (value.is(Type::floating)) number = value.as_double();
  if (value.is_string()) {
    int64_t base = a[1] ? integer_argument(cx, *a[1], "base") : 10;
    if (base < 2 || base > 36) cx.unsupported("the base ", base);
    std::string text(strip(value.text(), nullptr, true, true));
    const char* begin = text.c_str() + (text[0] == '+' && text[1] != '-' ? 1 : 0);
    int64_t integer = 0;
    auto [end, error] = std::from_chars(begin, text.c_str() + text.size(), integer, int(base));
    if (error == std::errc() && end == text.c_str() + text.size()) return Value::integer(integer);
    number = parse_float(text);
  }
  return number && std::isfinite(*number) ? float_to_integer(cx, *number) : otherwise;
}

Value to_float(Context& cx, const Value& value, const Args& args) {
  auto a = bind(cx, "float", args, {"default"}, 0);
  if (value.is(Type::undefined)) cx.error(value.undefined_message());
  if (value.is_number()) return Value::floating(value.as_double());
  std::optional<double> number = value.is_string() ? parse_float(value.text()) : std::nullopt;
  return number ? Value::floating(*number) : a[0] ? *a[0] : Value::floating(0);
}

Value round(Context& cx, const Value& value, const Args& args) {
  auto a = bind(cx, "round", args, {"precision", "method"}, 0);
  if (!value.is_number()) cx.error("round needs a number, not ", type_name(value));
  int64_t precision = a[0] ? integer_argument(cx, *a[0], "precision") : 0;
  std::string method = a[1] ? string_argument(cx, *a[1], "method") : "common";
  if (method != "common" && method != "ceil" && method != "floor") cx.error("method must be common, ceil or floor");
  if (precision < 0 || precision > 15) cx.unsupported("the precision ", precision);
  double number = value.as_double();
  if (method != "common") {
    double scale = std::pow(10.0, double(precision));
    return Value::floating((method == "ceil" ? std::ceil(number * scale) : std::floor(number * scale)) / scale);
  }
  if (value.is_integral()) return Value::integer(value.as_integer());
  if (!std::isfinite(number) || std::abs(number) > 1e100) return value;
  char buffer[160];  // the decimal digits are exact, so ties go where Python's go
  auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::fixed, int(precision)).ptr;
  return Value::floating(parse_float(std::string(buffer, end)).value_or(number));
}

Value batch(Context& cx, const Value& value, const Args& args) {
  auto a = bind(cx, "batch", args, {"linecount", "fill_with"}, 1);
  int64_t count = integer_argument(cx, *a[0], "linecount");
  if (count < 1 || count > 100000) cx.error("linecount is out of range");
  Items batches, row;
  for (auto walked = iterate(cx, value); const Value& item : *walked) {
    if (int64_t(row.size()) == count) batches.push_back(Value::list(cx, std::exchange(row, {})));
    row.push_back(item);
  }
  if (!row.empty()) {
    if (a[1] && !a[1]->is(Type::none)) row.resize(size_t(count), *a[1]);
    batches.push_back(Value::list(cx, std::move(row)));
  }
  return Value::generator(cx, std::move(batches));
}

Value reverse(Context& cx, const Value& value) {
  auto items = iterate(cx, value);
  cx.spend(items->size());
  Items reversed(items->rbegin(), items->rend());
  if (!value.is_string()) return Value::generator(cx, std::move(reversed));
  std::string text;
  for (const Value& c : reversed) text += c.text();
  return Value::string(cx, text, value.is_markup());
}

Value absolute(Context& cx, const Value& value) {
  if (!value.is_number()) cx.error("abs needs a number, not ", type_name(value));
  if (value.is(Type::floating)) return Value::floating(std::abs(value.as_double()));
  return value.as_integer() < 0 ? unary(cx, "-", value) : Value::integer(value.as_integer());
}

Value items_of(Context& cx, const Value& value) {
  Items items;
  if (!value.is(Type::undefined) && !value.is(Type::dict)) cx.error("Can only get item pairs from a mapping.");
  if (value.is(Type::dict)) {
    for (const auto& [key, item] : value.pairs()) items.push_back(Value::tuple(cx, {key, item}));
  }
  return Value::generator(cx, std::move(items));
}

// Filters of a string; what is not one is turned into text first, what is marked stays marked.
std::optional<Value> text_filter(Context& cx, const std::string& name, const Value& value, const Args& args) {
  constexpr std::string_view names[] = {"string", "trim", "upper",  "lower", "capitalize",
                                        "title",  "safe", "escape", "e",     "forceescape"};
  if (std::find(std::begin(names), std::end(names), name) == std::end(names)) return std::nullopt;
  auto a = name == "trim" ? bind(cx, name, args, {"chars"}, 0) : bind(cx, name, args, {}, 0);
  if (name == "string" && value.is_string()) return value;
  std::string text = to_text(cx, value);
  bool markup = value.is_markup();
  cx.spend_bytes(text.size());
  if (name == "trim") {
    const std::string* chars = a[0] && !a[0]->is(Type::none) ? &string_argument(cx, *a[0], "chars") : nullptr;
    if (chars) cx.spend(chars->size());
    return Value::string(cx, std::string(strip(text, chars, true, true)), markup);
  }
  if (name == "upper") return Value::string(cx, upper(text), markup);
  if (name == "lower") return Value::string(cx, lower(text), markup);
  if (name == "capitalize") return Value::string(cx, capitalize(text), markup);
  if (name == "title") cx.spend(text.size());
  if (name == "title") return Value::string(cx, title(text));
  if (name == "safe") return Value::string(cx, text, true);
  if (name == "string") return Value::string(cx, text);
  return Value::string(cx, markup && name != "forceescape" ? text : escape_html(text), true);
}

Value length_filter(Context& cx, const Value& value) {
  auto length = length_of(value);
  if (!length) cx.error("object of type '", type_name(value), "' has no len()");
  return Value::integer(int64_t(*length));
}

}  // namespace

bool has_filter(const std::string& name) {
  constexpr std::string_view names[] = {
      "abs",     "attr",    "batch", "capitalize",  "count",  "d",          "default", "dictsort", "e",
      "escape",  "first",   "float", "forceescape", "format", "indent",     "int",     "items",    "join",
      "last",    "length",  "list",  "lower",       "map",    "max",        "min",     "reject",   "rejectattr",
      "replace", "reverse", "round", "safe",        "select", "selectattr", "sort",    "string",   "sum",
      "title",   "tojson",  "trim",  "unique",      "upper"};
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

Value apply_filter(Context& cx, const std::string& name, const Value& value, const Args& args) {
  cx.spend(1);
  if (auto result = text_filter(cx, name, value, args)) return *result;
  if (name == "tojson") return to_json(cx, value, args);
  if (name == "default" || name == "d") {
    auto a = bind(cx, name, args, {"default_value", "boolean"}, 0);
    bool use = value.is(Type::undefined) || (flag(a[1]) && !truthy(value));
    return !use ? value : a[0] ? *a[0] : Value::string(cx, "");
  }
  if (name == "join") return join(cx, value, args);
  if (name == "map") return map(cx, value, args);
  if (name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr") {
    return select(cx, name, value, args);
  }
  if (name == "replace") {
    auto a = bind(cx, name, args, {"old", "new", "count"}, 2);
    int64_t count = a[2] && !a[2]->is(Type::none) ? integer_argument(cx, *a[2], "count") : -1;
    return Value::string(cx, replace_text(cx, to_text(cx, value), to_text(cx, *a[0]), to_text(cx, *a[1]), count));
  }
  if (name == "indent") return indent(cx, value, args);
  if (name == "int") return to_integer(cx, value, args);
  if (name == "float") return to_float(cx, value, args);
  if (name == "round") return round(cx, value, args);
  if (name == "sort") return sort(cx, value, args);
  if (name == "dictsort") return dictsort(cx, value, args);
  if (name == "unique") return unique(cx, value, args);
  if (name == "min" || name == "max") return min_or_max(cx, name == "max", value, args);
  if (name == "sum") return sum(cx, value, args);
  if (name == "batch") return batch(cx, value, args);
  if (name == "format") {
    if (!args.positional.empty() && !args.named.empty())
      cx.error("format takes positional or keyword arguments, not both");
    Value argument = args.named.empty() ? Value::tuple(cx, args.positional) : dict_of(cx, args);
    return Value::string(cx, printf_format(cx, to_text(cx, value), argument), value.is_markup());
  }
  if (name == "attr") {
    auto a = bind(cx, name, args, {"name"}, 1);
    if (value.is(Type::dict) && !find_method(cx, value, string_argument(cx, *a[0], "name"))) {
      return Value::undefined(cx, "'dict object' has no attribute '" + a[0]->text() + "'");
    }
    return get_attribute(cx, value, string_argument(cx, *a[0], "name"));
  }
  if (!has_filter(name)) cx.unsupported("no filter named '", name, "'");
  bind(cx, name, args, {}, 0);
  if (name == "length" || name == "count") return length_filter(cx, value);
  if (name == "list") return Value::list(cx, *iterate(cx, value));
  if (name == "first" || name == "last") return first_or_last(cx, name == "last", value);
  if (name == "reverse") return reverse(cx, value);
  if (name == "items") return items_of(cx, value);
  return absolute(cx, value);
}

}  // namespace vkmoe::jinja
