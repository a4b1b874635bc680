// The tojson filter: Python's json.dumps, with the options that transformers passes through.
#include <algorithm>
#include <cmath>

#include "loader/jinja/operators.h"
#include "loader/jinja/text.h"

namespace vkmoe::jinja {

namespace {

struct Writer {
  Context& cx;
  TextBuilder out;
  bool ascii, sort_keys;
  std::optional<std::string> indent;
  std::string item_separator, key_separator;

  void string(std::string_view text) {
    std::string escaped = "\"";
    size_t bytes;
    for (size_t pos = 0; pos < text.size(); pos += bytes) {
      char32_t c = decode_char(text, pos, &bytes);
      constexpr std::string_view special = "\"\\\n\r\t\f\b", letters = "\"\\nrtfb";
      size_t found = c < 0x80 ? special.find(char(c)) : std::string_view::npos;
      if (found != std::string_view::npos) {
        escaped += {'\\', letters[found]};
      } else if (c < ' ' || (ascii && c >= 0x7f && c < 0x10000)) {
        unit(escaped, c);
      } else if (ascii && c >= 0x10000) {
        unit(escaped, 0xd800 + ((c - 0x10000) >> 10));
        unit(escaped, 0xdc00 + ((c - 0x10000) & 0x3ff));
      } else {
        escaped += text.substr(pos, bytes);
      }
    }
    out.append(escaped + "\"");
  }
  static void unit(std::string& text, char32_t c) {
    constexpr const char* digits = "0123456789abcdef";
    text += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) text += digits[c >> shift & 15];
  }

  std::string scalar(const Value& value) {
    switch (value.type()) {
      case Type::none: return "null";
      case Type::boolean: return value.as_integer() ? "true" : "false";
      case Type::integer: return std::to_string(value.as_integer());
      case Type::floating: {
        double number = value.as_double();
        if (std::isnan(number)) return "NaN";
        return std::isinf(number) ? number < 0 ? "-Infinity" : "Infinity" : float_repr(number);
      }
      default: cx.error("Object of type ", type_name(value), " is not JSON serializable");
    }
  }

  void line_break(int level) {
    if (!indent) return;
    out.append("\n");
    out.repeat(*indent, level);
  }

  void value(const Value& v, int level) {
    Depth depth(cx);
    cx.spend(1);
    if (v.is_string()) {
      string(v.text());
    } else if (v.is(Type::list) || v.is(Type::tuple)) {
      if (v.items().empty()) return out.append("[]");
      const char* open = "[";
      for (const Value& item : v.items()) {
        out.append(*open ? std::exchange(open, "") : item_separator);
        line_break(level + 1);
        value(item, level + 1);
      }
      line_break(level);
      out.append("]");
    } else if (v.is(Type::dict)) {
      dict(v, level);
    } else {
      out.append(scalar(v));
    }
  }

  void dict(const Value& v, int level) {
    if (v.pairs().empty()) return out.append("{}");
    Pairs pairs = v.pairs();
    if (sort_keys) stable_sort(cx, pairs, false);
    const char* open = "{";
    for (const auto& [key, item] : pairs) {
      out.append(*open ? std::exchange(open, "") : item_separator);
      line_break(level + 1);
      if (!key.is_string() && !key.is_number() && !key.is(Type::none)) {
        cx.error("keys must be str, int, float, bool or None, not ", type_name(key));
      }
      string(key.is_string() ? key.text() : scalar(key));
      out.append(key_separator);
      value(item, level + 1);
    }
    line_break(level);
    out.append("}");
  }
};

}  // namespace

Value to_json(Context& cx, const Value& value, const Args& args) {
  auto a = bind(cx, "tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0);
  auto given = [](const Value* argument) { return argument && !argument->is(Type::none); };
  Writer writer{cx, TextBuilder(cx), a[0] && truthy(*a[0]), a[3] && truthy(*a[3])};
  if (given(a[1])) {
    if (a[1]->is_string()) {
      writer.indent = a[1]->text();
    } else {
      TextBuilder spaces(cx);
      spaces.repeat(" ", integer_argument(cx, *a[1], "indent"));
      writer.indent = spaces.text();
    }
  }
  writer.item_separator = writer.indent ? "," : ", ";
  writer.key_separator = ": ";
  if (given(a[2])) {
    auto separators = iterate(cx, *a[2]);
    if (separators->size() != 2) cx.error("separators must be two strings");
    writer.item_separator = string_argument(cx, (*separators)[0], "a separator");
    writer.key_separator = string_argument(cx, (*separators)[1], "a separator");
  }
  writer.value(value, 0);
  return Value::string(cx, writer.out.text());
}

}  // namespace vkmoe::jinja
