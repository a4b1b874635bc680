// stream_read and multiply_add, the kernels beside which vkmoe bench shows the others: against plain loops.
#include "conformance/cases.h"

namespace vkmoe::conformance {
namespace {

void check_stream_read(Check& check, uint32_t lanes, bool texels, uint32_t groups) {
  if (lanes > check.caps().max_invocations) throw Unsupported(cat("workgroups of ", lanes));
  std::vector<uint32_t> words(size_t(groups) * lanes * STREAM_READS * 4), want(groups * lanes);
  if (texels && words.size() / 4 > check.caps().max_texels) throw Unsupported(cat("texel buffers of ", words.size() / 4));
  for (uint32_t& word : words) word = check.random();
  for (size_t i = 0; i < words.size(); ++i) {
    size_t quad = i / 4;
    want[quad / (lanes * STREAM_READS) * lanes + quad % lanes] += words[i];
  }
  BufferView quads = check.input(words, "quads"), sums = check.output(want.size(), "sums");
  check.run(Tuning::of(check.caps()), [&](Recorder& r) { stream_read(r, quads, sums, groups, lanes, texels); });
  check.equal("sums", check.read<uint32_t>(sums, want.size()), want);
}

void check_multiply_add(Check& check, uint32_t lanes, uint32_t groups, uint32_t rounds) {
  if (lanes > check.caps().max_invocations) throw Unsupported(cat("workgroups of ", lanes));
  std::vector<float> begin(size_t(groups) * lanes * MULTIPLY_ADD_VALUES), want(begin.size());
  for (float& v : begin) v = float(int(check.random() % 2001) - 1000);
  const MultiplyAddParams params = {-1, 3, rounds};  // whole numbers: exact, fused or not
  BufferView values = check.input(begin, "values");
  check.run(Tuning::of(check.caps()), [&](Recorder& r) {
    multiply_add(r, values, groups, lanes, params);
    multiply_add(r, values, groups, lanes, {1, 0.5f, rounds});
  });
  for (size_t i = 0; i < begin.size(); ++i) {
    want[i] = begin[i];
    for (uint32_t step = 0; step < rounds * MULTIPLY_ADD_STEPS; ++step) want[i] = want[i] * params.factor + params.addend;
    for (uint32_t step = 0; step < rounds * MULTIPLY_ADD_STEPS; ++step) want[i] += 0.5f;
  }
  check.equal("values", check.read<float>(values, want.size()), want);
}

}  // namespace

void add_roofline(Cases& cases) {
  for (uint32_t lanes : {32u, 64u}) {
    for (bool texels : {false, true}) {
      cases.push_back({"stream_read", cat("lanes=", lanes, texels ? ",texels" : ""), "groups=3", true,
                       [=](Check& check) { check_stream_read(check, lanes, texels, 3); }});
    }
  }
  for (uint32_t lanes : {32u, 64u}) {
    cases.push_back({"multiply_add", cat("lanes=", lanes), "groups=2,rounds=3", true,
                     [=](Check& check) { check_multiply_add(check, lanes, 2, 3); }});
  }
}

}  // namespace vkmoe::conformance
