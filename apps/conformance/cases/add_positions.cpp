// add_positions: sinusoidal positions, counted without padding, are added to the embedding.
#include "conformance/cases.h"

namespace vkmoe::conformance {
namespace {

constexpr uint32_t padding_id = 1;

struct Shape {
  uint32_t n_tokens, position, width;
  const char* padding;
};

bool is_padding(const Shape& s, uint32_t token) {
  std::string where = s.padding;
  return where == "all" || (where == "some" && token % 3 == 1) || (where == "first" && token < 2);
}

void check_positions(Check& check, const Tuning& tuning, const Shape& s) {
  std::vector<float> x = random_values(check, size_t(s.n_tokens) * s.width);
  std::vector<float> table = random_values(check, size_t(1 + s.position + s.n_tokens) * s.width);
  std::vector<uint32_t> tokens(s.n_tokens);
  std::vector<float> want;
  uint32_t row = s.position;
  for (uint32_t t = 0; t < s.n_tokens; ++t) {
    tokens[t] = is_padding(s, t) ? padding_id : 2 + uint32_t(check.random() % 100);
    row += !is_padding(s, t);
    for (uint32_t i = 0; i < s.width; ++i)
      want.push_back(x[t * s.width + i] + table[(is_padding(s, t) ? 0 : row) * s.width + i]);
  }
  BufferView step = check.input(std::vector<uint32_t>{s.position, s.position + s.n_tokens, 0, 0}, "step");
  BufferView ids = check.input(tokens, "tokens"), positions = check.input(table, "table");
  Rows y = check.input_rows(x, s.width);
  check.run(tuning, [&](Recorder& r) { add_positions(r, step, ids, positions, y, s.n_tokens, s.width, padding_id); });
  check.equal("x", check.read_rows(y, s.n_tokens, s.width), want);
  check.padding_untouched(y, s.n_tokens, s.width);
}

}  // namespace

void add_add_positions(Cases& cases) {
  for (const Lanes& lanes : all_lanes()) {
    for (const Shape& s : {Shape{1, 0, 40, "no"}, {1, 9, 33, "no"}, {7, 0, 72, "some"}, {5, 3, 100, "first"}, {3, 2, 4, "all"}}) {
      cases.push_back({"add_positions", cat("lanes=", lanes.lanes),
                       cat("tokens=", s.n_tokens, ",position=", s.position, ",width=", s.width, ",padding=", s.padding), lanes.quick,
                       [=](Check& check) { check_positions(check, with_lanes(check, lanes.lanes), s); }});
    }
  }
}

}  // namespace vkmoe::conformance
