#include "moe/ops/ops.h"

namespace vkmoe {

Tuning Tuning::of(const Caps& caps) {
  Tuning t;
  if (caps.type == "cpu") {
    // A vector unit per core: loads dominate, so each invocation owns many rows and shares each value of x among them.
    t.matmul[0] = {4, 1, 1};
    t.matmul[1] = {4, 1, 1};
    t.matmul[2] = {4, 1, 1};
    t.matmul_subgroup = caps.subgroup_ballot && caps.subgroup_size == 8;
    t.lanes = 8;
    t.sample_lanes = 128;
    t.most_walked_keys = 8192;
  } else {
    // Many invocations hide the latency of memory: segments are shared out, one row for each.
    t.matmul[0] = {1, 4, 1};
    t.matmul[1] = {1, 2, 1};
    t.matmul[2] = {1, 2, 1};
    t.matmul_subgroup = false;
    t.lanes = 64;
    t.sample_lanes = 128;
    t.most_walked_keys = 0xffffffffu;
  }
  return t;
}

}  // namespace vkmoe
