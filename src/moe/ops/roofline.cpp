#include "moe/ops/ops.h"

namespace vkmoe {

void stream_read(Recorder& r, BufferView quads, BufferView sums, uint32_t groups, uint32_t lanes, bool texels) {
  uint64_t invocations = uint64_t(groups) * lanes;
  r.recording.note({invocations * (STREAM_READS * 16 + 4), 0});
  r.recording.dispatch(r.device.kernel(texels ? "stream_read_texels" : "stream_read", {lanes}),
                       {texels ? quads.as(Texels::uint4) : quads, sums}, nullptr, 0, groups);
}

void multiply_add(Recorder& r, BufferView values, uint32_t groups, uint32_t lanes, const MultiplyAddParams& params) {
  uint64_t count = uint64_t(groups) * lanes * MULTIPLY_ADD_VALUES;
  r.recording.note({2 * count * 4, 2 * count * MULTIPLY_ADD_STEPS * params.rounds});
  r.recording.dispatch(r.device.kernel("multiply_add", {lanes}), {values}, params, groups);
}

}  // namespace vkmoe
