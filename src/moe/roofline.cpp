#include "moe/roofline.h"

#include <algorithm>
#include <cstring>

#include "moe/ops/ops.h"

namespace vkmoe {
namespace {

constexpr uint32_t lanes = 64;
constexpr uint64_t most_stream_bytes = uint64_t(128) << 20, enough_nanoseconds = 300'000'000;

struct Measured {
  KernelTime best;
  uint32_t runs = 0;
};

// One dispatch, at least twice and until it took so long in all; the fastest.
Measured measure(Device& device, uint64_t enough_nanoseconds, const std::function<void(Recorder&)>& body) {
  Tuning tuning = Tuning::of(device.caps());
  Recording recording(device, "roofline", true);
  Recorder recorder{device, recording, tuning};
  body(recorder);
  recording.end();
  Measured made;
  for (uint64_t spent = 0; made.runs < 2 || (spent < enough_nanoseconds && made.runs < 50); ++made.runs) {
    device.wait(device.submit({&recording}));
    KernelTime time = recording.times().at(0);
    spent += time.nanoseconds;
    if (made.runs == 0 || time.nanoseconds < made.best.nanoseconds) made.best = time;
  }
  return made;
}

double per_second(uint64_t amount, const KernelTime& time) {
  return time.nanoseconds ? double(amount) * 1e9 / double(time.nanoseconds) : 0;
}

// The better of the ways to read that the device has (Tuning::texels).
double measure_read(Device& device) {
  const Caps& caps = device.caps();
  constexpr uint64_t group_bytes = uint64_t(lanes) * STREAM_READS * 16;
  const uint32_t groups = uint32_t(
      std::min({most_stream_bytes, caps.max_binding_bytes, caps.max_allocation_bytes, caps.max_groups[0] * group_bytes}) /
      group_bytes);
  const uint64_t bytes = groups * group_bytes;
  Buffer quads = device.create_buffer(bytes, MemoryUse::device, "streamed quads");
  Buffer sums = device.create_buffer(bytes / STREAM_READS / 4, MemoryUse::device, "sums of quads");
  auto word = [](uint64_t i) { return uint32_t(i) * 2654435761u; };
  device.upload(quads, 0, bytes, [&](uint64_t at, uint64_t count, void* out) {
    for (uint64_t i = 0; i < count; i += 4) {
      uint32_t value = word((at + i) / 4);
      std::memcpy(static_cast<uint8_t*>(out) + i, &value, 4);
    }
  });
  std::vector<uint32_t> want(sums.size() / 4), got(want.size());
  for (uint64_t i = 0; i < bytes / 4; ++i) {
    uint64_t quad = i / 4, group = quad / (lanes * STREAM_READS);
    want[group * lanes + quad % lanes] += word(i);
  }
  double best = 0;
  for (bool texels : {false, true}) {
    if (texels && bytes / 16 > caps.max_texels) continue;
    KernelTime time =
        measure(device, enough_nanoseconds, [&](Recorder& r) { stream_read(r, quads, sums, groups, lanes, texels); }).best;
    device.read_back(sums, 0, got.data(), sums.size());
    if (got != want) fail(VKMOE_ERROR_INTERNAL, "stream_read: wrong sums on ", caps.name);
    best = std::max(best, per_second(time.work.bytes, time));
  }
  return best;
}

// As many rounds as last for two milliseconds, and not so many that float32 cannot count them.
double measure_multiply_add(Device& device) {
  constexpr uint32_t groups = 2048, count = groups * lanes * MULTIPLY_ADD_VALUES, most_rounds = 4096, period = 64;
  std::vector<float> begin(count), got(count), want(period);
  for (uint32_t i = 0; i < count; ++i) begin[i] = float(i % period);
  Buffer values = device.create_buffer(count * 4, MemoryUse::device, "multiplied values");
  MultiplyAddParams params = {1, 1, 4};
  auto run = [&](uint64_t nanoseconds) {
    device.upload(values, 0, begin.data(), values.size());
    return measure(device, nanoseconds, [&](Recorder& r) { multiply_add(r, values, groups, lanes, params); });
  };
  Measured made;
  do {
    params.rounds *= 4;
    made = run(0);
  } while (made.best.nanoseconds < 2'000'000 && params.rounds < most_rounds);
  made = run(enough_nanoseconds);
  device.read_back(values, 0, got.data(), values.size());
  std::copy_n(begin.begin(), period, want.begin());
  for (uint64_t step = 0; step < uint64_t(made.runs) * params.rounds * MULTIPLY_ADD_STEPS; ++step)
    for (float& v : want) v = v * params.factor + params.addend;  // whole numbers: exact, fused or not
  for (uint32_t i = 0; i < count; ++i)
    if (got[i] != want[i % period])
      fail(VKMOE_ERROR_INTERNAL, "multiply_add: expected ", want[i % period], ", found ", got[i], " on ", device.caps().name);
  return per_second(made.best.work.flops, made.best);
}

}  // namespace

Roofline measure_roofline(Device& device) { return {measure_read(device), measure_multiply_add(device)}; }

}  // namespace vkmoe
