// Operators, attributes, items, slices, methods, filters and tests on values; everything that needs no interpreter.
#pragma once
#include <string>

#include "loader/jinja/value.h"

namespace vkmoe::jinja {

Value unary(Context& cx, const std::string& op, const Value& value);
Value binary(Context& cx, const std::string& op, const Value& a, const Value& b);
bool compare(Context& cx, const std::string& op, const Value& a, const Value& b);

Value get_attribute(Context& cx, const Value& object, const std::string& name);  // object.name
Value get_item(Context& cx, const Value& object, const Value& key);              // object[key]
Value get_slice(Context& cx, const Value& object, const Value& start, const Value& stop, const Value& step);

// object.name, if the object has that Python method (undefined if it would change the object); otherwise nothing.
std::optional<Value> find_method(Context& cx, const Value& object, const std::string& name);
Value call_method(Context& cx, const Function& method, const Args& args);

bool has_filter(const std::string& name);
Value apply_filter(Context& cx, const std::string& name, const Value& value, const Args& args);
bool has_test(const std::string& name);
bool apply_test(Context& cx, const std::string& name, const Value& value, const Args& args);

std::string printf_format(Context& cx, const std::string& format, const Value& argument);  // format % argument
std::string str_format(Context& cx, const std::string& format, const Args& args);          // format.format(...)
Value to_json(Context& cx, const Value& value, const Args& args);                          // the tojson filter

// Parts of the filters that methods share.
std::string replace_text(Context& cx, const std::string& text, const std::string& from, const std::string& to,
                         int64_t count);
Items split_lines(Context& cx, const std::string& text, bool keep_ends, bool markup);
std::optional<double> parse_float(const std::string& text);
Value float_to_integer(Context& cx, double value);
Value dict_of(Context& cx, const Args& args);  // dict(...)

}  // namespace vkmoe::jinja
