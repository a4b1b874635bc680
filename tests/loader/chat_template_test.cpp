// Chat templates against what transformers renders (tools/make_template_goldens.py wrote the expected texts).
#include "loader/chat_template.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/error.h"
#include "loader/jinja/interpreter.h"

using nlohmann::ordered_json;
using vkmoe::Error;

namespace {

const std::filesystem::path kData = std::filesystem::path(VKMOE_SOURCE_DIR) / "tests" / "data" / "templates";

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE_MESSAGE(in.good(), path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

// The time at which make_template_goldens.py lets templates run: 2025-03-04 15:06:07.
std::tm golden_time() {
  std::tm time{};
  time.tm_year = 2025 - 1900;
  time.tm_mon = 3 - 1;
  time.tm_mday = 4;
  time.tm_hour = 15;
  time.tm_min = 6;
  time.tm_sec = 7;
  time.tm_isdst = -1;
  std::mktime(&time);
  return time;
}

// True if the result is what transformers gave: the same text, or an error where it gave an error.
bool matches(const std::string& source, const ordered_json& variables, const ordered_json& expected,
             std::string* found) {
  try {
    *found = vkmoe::jinja::render(source, vkmoe::jinja::template_variables(variables), golden_time());
    return expected.contains("text") && expected["text"] == *found;
  } catch (const Error& error) {
    *found = std::string("Error: ") + error.what();
    // A template's own message is passed on; of what Python says, the reason after the kind of error.
    std::string python = expected.value("error", ""), message = error.what();
    if (python.compare(0, 15, "TemplateError: ") == 0) return python.substr(15) == message;
    if (python.compare(0, 16, "UndefinedError: ") == 0) return message.find(python.substr(16)) != std::string::npos;
    return !python.empty();
  }
}

struct Count {
  int templates = 0, identical = 0, texts = 0;
};

Count check_folder(const std::filesystem::path& folder) {
  ordered_json goldens = ordered_json::parse(read(folder / "goldens.json"));
  Count count;
  for (const auto& [name, results] : goldens["templates"].items()) {
    std::string source = read(folder / name), found;
    bool all = true;
    for (const auto& [case_name, expected] : results.items()) {
      bool same = matches(source, goldens["cases"][case_name], expected, &found);
      CHECK_MESSAGE(same, name, ", ", case_name, "\nexpected: ", expected.dump(),
                    "\nfound: ", ordered_json(found).dump());
      all &= same;
      count.texts += expected.contains("text");
    }
    ++count.templates;
    count.identical += all;
  }
  return count;
}

vkmoe_status status_of(const std::string& source, const ordered_json& variables = ordered_json::object()) {
  try {
    vkmoe::render_chat_template(source, variables);
    return VKMOE_OK;
  } catch (const Error& error) {
    return error.status;
  }
}

std::string message_of(const std::string& source, const ordered_json& variables = ordered_json::object()) {
  try {
    return "no error: " + vkmoe::render_chat_template(source, variables);
  } catch (const Error& error) {
    return error.what();
  }
}

const ordered_json& sample_variables() {
  static const ordered_json goldens = ordered_json::parse(read(kData / "goldens.json"));
  return goldens["cases"]["more calls"];
}

// It may render or fail, but only with an Error.
void render_anything(const std::string& source) {
  try {
    vkmoe::render_chat_template(source, sample_variables());
  } catch (const Error&) {
  }
}

}  // namespace

TEST_CASE("every construct renders as in Python") {
  ordered_json cases = ordered_json::parse(read(kData / "constructs.json"));
  REQUIRE(cases.size() > 100);
  std::string found;
  for (const auto& item : cases) {
    bool same = matches(item["template"], item.value("variables", ordered_json::object()), item, &found);
    CHECK_MESSAGE(same, item.dump(), "\nfound: ", ordered_json(found).dump());
  }
}

TEST_CASE("templates of models render as in transformers") {
  Count count = check_folder(kData);
  CHECK(count.templates >= 5);
  CHECK(count.texts > 20);
}

TEST_CASE("templates in VKMOE_TEMPLATES render as in transformers") {
  const char* folder = std::getenv("VKMOE_TEMPLATES");
  if (!folder) {
    MESSAGE("skipped: VKMOE_TEMPLATES names no folder with *.jinja and the goldens.json of make_template_goldens.py");
    return;
  }
  Count count = check_folder(folder);
  MESSAGE(count.identical, " of ", count.templates, " templates render identically, ", count.texts, " texts");
  CHECK(count.identical == count.templates);
}

TEST_CASE("errors name the line and what is wrong") {
  CHECK(status_of("{{ raise_exception('no ' ~ 'way') }}") == VKMOE_ERROR_INVALID_ARGUMENT);
  CHECK(message_of("{{ raise_exception('no ' ~ 'way') }}") == "no way");
  CHECK(message_of("a\nb\n{% include 'x' %}") == "chat template line 3: unknown statement 'include'");
  CHECK(status_of("{% include 'x' %}") == VKMOE_ERROR_UNSUPPORTED);
  CHECK(message_of("\n{{ 'a' | frobnicate }}") == "chat template line 2: no filter named 'frobnicate'");
  CHECK(status_of("{{ 1 is odder }}") == VKMOE_ERROR_UNSUPPORTED);
  CHECK(message_of("{{ x.y }}") == "chat template line 1: 'x' is undefined");
  CHECK(status_of("{{ x.y }}") == VKMOE_ERROR_INVALID_ARGUMENT);
  CHECK(message_of("{% if true %}\n{{ 1 }}") ==
        "chat template line 2: expected 'elif', found the end of the template");
  CHECK(status_of("", ordered_json::array()) == VKMOE_ERROR_INVALID_ARGUMENT);
  CHECK(status_of("", {{"messages", {1, 2}}}) == VKMOE_ERROR_INVALID_ARGUMENT);
}

TEST_CASE("hostile templates end with an error") {
  auto repeat = [](const std::string& text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
  };
  const std::string hostile[] = {
      // time
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
      "{% set s = 'ab' * 1000000 %}{% for a in range(99999) %}{% set t = s.find('x') %}{% endfor %}",
      "{% set s = 'a' * 1000000 %}{% set t = 'a' * 500000 ~ 'b' %}{% for a in range(99999) %}{{ s.find(t) }}{% "
      "endfor %}",
      "{% set s = 'ab' * 1000000 %}{% for a in range(99999) %}{{ s.rsplit('ab' * 50) | length }}{% endfor %}",
      // memory
      "{{ 'a' * 9000000000 }}",
      "{{ [1] * 9000000000 }}",
      "{% set n = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
      "{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = n.l + n.l %}{% endfor %}",
      "{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
      "{% for a in range(99999) %}{% for b in range(99999) %}0123456789012345678901234567890123456789{% endfor %}{% "
      "endfor %}",
      "{{ '%999999999999s' % 1 }}",
      "{{ '%.999999999999f' % 1.5 }}",
      "{{ 'a'.center(99999999999) }}",
      "{{ [1] | tojson(indent=99999999999) }}",
      "{{ 'a\nb' | indent(99999999999) }}",
      "{{ range(100001) }}",
      // stack
      "{% set n = namespace(l=[]) %}{% for i in range(99999) %}{% set n.l = [n.l] %}{% endfor %}",
      "{% set n = namespace() %}{% set n.n = n %}{{ n }}",
      "{{ " + repeat("(", 100000) + "1" + repeat(")", 100000) + " }}",
      "{{ " + repeat("[", 100000) + repeat("]", 100000) + " }}",
      "{{ " + repeat("-", 100000) + "1 }}",
      "{{ " + repeat("not ", 100000) + "1 }}",
      "{{ 1" + repeat(" + 1", 100000) + " }}",
      "{{ 1" + repeat(" if 1 else 1", 100000) + " }}",
      "{{ x" + repeat(".x", 100000) + " }}",
      "{{ x" + repeat("|list", 100000) + " }}",
      repeat("{% if 1 %}", 100000),
      repeat("{% for x in y %}", 100000),
      "{% set " + repeat("(", 100000) + "x",
      // arithmetic
      "{{ 9223372036854775807 + 1 }}",
      "{{ 9223372036854775807 ** 99 }}",
      "{{ (-9223372036854775807 - 1) // -1 }}",
      "{{ -(-9223372036854775807 - 1) }}",
      "{{ 99999999999999999999 }}",
      "{{ 1 // 0 }}",
      "{{ 1.5 % 0 }}",
      "{{ 1e300 | int }}",
  };
  for (const std::string& source : hostile) {
    CHECK_MESSAGE(status_of(source) != VKMOE_OK, source.substr(0, 100));
  }
}

TEST_CASE("damaged templates render or fail with an error") {
  uint32_t random = 1;
  auto next = [&] { return (random = random * 1664525u + 1013904223u) >> 8; };
  const std::string alphabet = "{}%#-+()[]|.,:'\"\\ \n0a~*/=<>!_\x80\xe2\xff";
  for (const auto& file : std::filesystem::directory_iterator(kData)) {
    if (file.path().extension() != ".jinja") continue;
    std::string source = read(file.path());
    size_t step = source.size() / 400 + 1;
    for (size_t size = 0; size < source.size(); size += step) render_anything(source.substr(0, size));
    for (int i = 0; i < 400; ++i) {
      std::string damaged = source;
      for (int k = 0; k < 3; ++k) {
        size_t at = next() % damaged.size();
        switch (next() % 3) {
          case 0: damaged[at] = alphabet[next() % alphabet.size()]; break;
          case 1: damaged.erase(at, 1 + next() % 8); break;
          default: damaged.insert(at, damaged.substr(next() % damaged.size(), next() % 12));
        }
      }
      render_anything(damaged);
    }
  }
}
