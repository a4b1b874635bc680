// begin_step: the position of a step on the device, and the groups that attention over so many keys takes.
#include "conformance/cases.h"

namespace vkmoe::conformance {

void add_begin_step(Cases& cases) {
  struct Shape {
    uint32_t position, next, n_heads, n_kv_heads;
    bool advance;
  };
  for (const Shape& s : {Shape{0, 0, 4, 4, false}, {7, 31, 8, 2, true}, {31, 32, 8, 1, true}, {63, 64, 14, 2, false},
                         {5, 0xffffff, 128, 8, true}}) {
    cases.push_back({"begin_step", "default", cat("position=", s.position, ",next=", s.next, ",heads=", s.n_heads, "x", s.n_kv_heads,
                                           s.advance ? ",advance" : ""),
                     true, [s](Check& check) {
      uint32_t rows = s.n_heads / s.n_kv_heads, now = s.advance ? s.next : s.position;
      BufferView step = check.input(std::vector<uint32_t>{s.position, s.next, 9, 11}, "step"), groups = check.output(3, "groups");
      check.run(Tuning::gpu(), [&](Recorder& r) { begin_step(r, step, groups, s.n_heads, s.n_kv_heads, 64, {{}}, s.advance); });
      check.equal("step", check.read<uint32_t>(step, 4), {now, s.advance ? now + 1 : s.next, 9, 11});
      std::vector<uint32_t> got = check.read<uint32_t>(groups, 3);
      check.that(got[0] >= 1 && got[0] <= rows, "groups over queries: expected 1 to ", rows, ", found ", got[0]);
      check.equal("groups", {got[1], got[2]}, std::vector<uint32_t>{s.n_kv_heads, now / KEY_BLOCK + 1});
    }});
  }
}

}  // namespace vkmoe::conformance
