// Python's text % argument and text.format(...), as far as templates use them: no widths or alignment in format().
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "loader/jinja/operators.h"
#include "loader/jinja/text.h"

namespace vkmoe::jinja {

namespace {

constexpr int kMaxPrecision = 100;

struct Spec {
  bool left = false, zero = false, plus = false, space = false;
  int64_t width = 0;
  int precision = -1;
};

std::string format_number(Context& cx, const Spec& spec, char type, const Value& value) {
  if (!value.is_number()) cx.error("%", type, " format: a number is required, not ", type_name(value));
  char buffer[512];
  char* end = buffer + sizeof buffer;
  double number = value.as_double();
  char kind = char(std::tolower(uint8_t(type)));
  if (kind == 'f' || kind == 'e' || kind == 'g') {
    if (std::abs(number) > 1e100) cx.unsupported("%", type, " of a number beyond 1e100");
    auto format = kind == 'f'   ? std::chars_format::fixed
                  : kind == 'e' ? std::chars_format::scientific
                                : std::chars_format::general;
    end = std::to_chars(buffer, end, number, format, spec.precision < 0 ? 6 : spec.precision).ptr;
  } else {
    Value integer = value.is(Type::floating) ? float_to_integer(cx, number) : value;
    end = std::to_chars(buffer, end, integer.as_integer(), kind == 'x' ? 16 : kind == 'o' ? 8 : 10).ptr;
  }
  std::string text(buffer, end);
  if (type != kind)
    std::transform(text.begin(), text.end(), text.begin(), [](char c) { return char(std::toupper(uint8_t(c))); });
  if (text[0] != '-' && (spec.plus || spec.space)) text.insert(0, spec.plus ? "+" : " ");
  return text;
}

void pad(TextBuilder& out, const Spec& spec, std::string text, bool number) {
  int64_t missing = std::max<int64_t>(0, spec.width - int64_t(count_chars(text)));
  bool zeros = spec.zero && number && !spec.left;
  size_t sign = zeros && !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ') ? 1 : 0;
  out.append(text.substr(0, sign));
  if (!spec.left) out.repeat(zeros ? "0" : " ", missing);
  out.append(text.substr(sign));
  if (spec.left) out.repeat(" ", missing);
}

class Printf {
 public:
  Printf(Context& cx, const std::string& format, const Value& argument)
      : cx_(cx), format_(format), argument_(argument) {}

  std::string run() {
    TextBuilder out(cx_);
    while (pos_ < format_.size()) {
      size_t percent = std::min(format_.find('%', pos_), format_.size());
      out.append(std::string_view(format_).substr(pos_, percent - pos_));
      pos_ = percent + 1;
      if (percent < format_.size()) conversion(out);
    }
    bool tuple = argument_.is(Type::tuple);
    bool single = argument_.is_string() || argument_.is_number() || argument_.is(Type::none);
    if (tuple ? used_ < argument_.items().size() : used_ == 0 && single) {
      cx_.error("not all arguments converted during string formatting");
    }
    return out.text();
  }

 private:
  char peek() const {
    if (pos_ >= format_.size()) cx_.error("incomplete format");
    return format_[pos_];
  }
  int64_t number() {
    int64_t value = 0;
    while (peek() >= '0' && peek() <= '9') {
      value = value * 10 + (format_[pos_++] - '0');
      if (value > int64_t(Context::kMaxTextBytes)) cx_.error("the width is too large");
    }
    return value;
  }

  void conversion(TextBuilder& out) {
    Value keyed;
    bool has_key = peek() == '(';
    if (has_key) {
      size_t end = format_.find(')', pos_);
      if (end == std::string::npos || !argument_.is(Type::dict)) cx_.error("format requires a mapping");
      keyed = get_item(cx_, argument_, Value::string(cx_, format_.substr(pos_ + 1, end - pos_ - 1)));
      pos_ = end + 1;
    }
    Spec spec;
    for (;; ++pos_) {
      char c = peek();
      if (c == '-')
        spec.left = true;
      else if (c == '0')
        spec.zero = true;
      else if (c == '+')
        spec.plus = true;
      else if (c == ' ')
        spec.space = true;
      else if (c == '#' || c == '*')
        cx_.unsupported("the format flag '", c, "'");
      else
        break;
    }
    spec.width = number();
    if (peek() == '.') {
      ++pos_;
      int64_t precision = number();
      if (precision > kMaxPrecision) cx_.unsupported("a precision above ", kMaxPrecision);
      spec.precision = int(precision);
    }
    char type = peek();
    ++pos_;
    if (type == '%') return out.append("%");
    const Value& value = has_key ? keyed : next();
    if (type == 's' || type == 'r') {
      std::string text = type == 's' ? to_text(cx_, value) : repr(cx_, value);
      if (spec.precision >= 0) text.resize(byte_offset(text, size_t(spec.precision)));
      return pad(out, spec, text, false);
    }
    if (std::string_view("diuxXofFeEgG").find(type) == std::string_view::npos) {
      cx_.unsupported("the format character '", type, "'");
    }
    pad(out, spec, format_number(cx_, spec, type, value), true);
  }

  const Value& next() {
    bool tuple = argument_.is(Type::tuple);
    if (used_ >= (tuple ? argument_.items().size() : 1)) cx_.error("not enough arguments for format string");
    ++used_;
    return tuple ? argument_.items()[used_ - 1] : argument_;
  }

  Context& cx_;
  const std::string& format_;
  const Value& argument_;
  size_t pos_ = 0, used_ = 0;
};

}  // namespace

std::string printf_format(Context& cx, const std::string& format, const Value& argument) {
  return Printf(cx, format, argument).run();
}

std::string str_format(Context& cx, const std::string& format, const Args& args) {
  TextBuilder out(cx);
  size_t automatic = 0;
  for (size_t pos = 0; pos < format.size(); ++pos) {
    size_t plain = std::min(format.find_first_of("{}", pos), format.size());
    out.append(std::string_view(format).substr(pos, plain - pos));
    if ((pos = plain) == format.size()) break;
    if (pos + 1 < format.size() && format[pos + 1] == format[pos]) {
      out.append(std::string_view(format).substr(pos++, 1));
      continue;
    }
    size_t end = format.find('}', pos);
    if (format[pos] == '}' || end == std::string::npos) cx.error("Single '", format[pos], "' in a format string");
    std::string field = format.substr(pos + 1, end - pos - 1);
    pos = end;
    bool as_repr = field.size() >= 2 && field.compare(field.size() - 2, 2, "!r") == 0;
    if (as_repr || (field.size() >= 2 && field.compare(field.size() - 2, 2, "!s") == 0))
      field.resize(field.size() - 2);
    if (field.find_first_of("{:!.[") != std::string::npos) cx.unsupported("the format field {", field, "}");
    const Value* value = nullptr;
    if (field.find_first_not_of("0123456789") == std::string::npos && field.size() < 9) {
      size_t index = field.empty() ? automatic++ : size_t(std::stoul(field));
      if (index < args.positional.size()) value = &args.positional[index];
    } else {
      for (const auto& [name, named] : args.named) {
        if (name == field) value = &named;
      }
    }
    if (!value) cx.error("format() has no argument for {", field, "}");
    out.append(as_repr ? repr(cx, *value) : to_text(cx, *value));
  }
  return out.text();
}

}  // namespace vkmoe::jinja
