// begin_step: the position of a step on the device, and the groups that attention over so many keys takes, for each span of
// keys that a model has.
#include "conformance/cases.h"

namespace vkmoe::conformance {
namespace {

struct Shape {
  uint32_t position, next, n_heads, n_kv_heads;
  bool advance;
  std::vector<KeySpan> spans = {{}};
  std::string name() const {
    std::string name = cat("position=", position, ",next=", next, ",heads=", n_heads, "x", n_kv_heads, advance ? ",advance" : "");
    for (const KeySpan& span : spans) name += span.window || span.chunk ? cat(",span=", span.window, "/", span.chunk) : "";
    return name;
  }
};

void check_begin_step(Check& check, const Shape& s) {
  uint32_t rows = s.n_heads / s.n_kv_heads, now = s.advance ? s.next : s.position;
  BufferView step = check.input(std::vector<uint32_t>{s.position, s.next, 9, 11}, "step");
  BufferView groups = check.output(4 * s.spans.size(), "groups");
  check.run(Tuning::gpu(check.caps()), [&](Recorder& r) { begin_step(r, step, groups, s.n_heads, s.n_kv_heads, 64, s.spans, s.advance); });
  check.equal("step", check.read<uint32_t>(step, 4), {now, s.advance ? now + 1 : s.next, 9, 11});
  for (size_t i = 0; i < s.spans.size(); ++i) {
    uint32_t first = 0;  // the first key that is seen
    if (uint32_t window = s.spans[i].window; window && now + 1 > window) first = now + 1 - window;
    if (uint32_t chunk = s.spans[i].chunk) first = std::max(first, now / chunk * chunk);
    std::vector<uint32_t> got = check.read<uint32_t>(groups, 3, 4 * i);
    check.that(got[0] >= 1 && got[0] <= rows, "groups over queries: expected 1 to ", rows, ", found ", got[0]);
    check.equal(cat("groups of span ", i), {got[1], got[2]}, std::vector<uint32_t>{s.n_kv_heads, now / KEY_BLOCK + 1 - first / KEY_BLOCK});
  }
}

}  // namespace

void add_begin_step(Cases& cases) {
  for (const Shape& s : {Shape{0, 0, 4, 4, false}, {7, 31, 8, 2, true}, {31, 32, 8, 1, true}, {63, 64, 14, 2, false},
                         {5, 0xffffff, 128, 8, true}, {200, 201, 8, 2, false, {{}, {33, 0}, {0, 64}, {0, 100}}},
                         {95, 96, 8, 2, true, {{32, 0}, {33, 0}, {1, 0}, {0, 96}, {40, 96}, {128, 0}}}}) {
    cases.push_back({"begin_step", "default", s.name(), true, [s](Check& check) { check_begin_step(check, s); }});
  }
}

}  // namespace vkmoe::conformance
