#include <algorithm>

#include "fixture.h"
#include "runtime/queue.h"

using namespace vkmoe;
using test::contains;
using test::error_of;

namespace {

struct Axpy {
  uint32_t count, factor;
};
constexpr uint32_t kCount = 1024;

void axpy(Recording& recording, Device& device, const BufferView& x, const BufferView& y, uint32_t factor) {
  const Kernel& kernel = device.kernel(test::binary("test_axpy"), {64});
  Axpy push = {uint32_t(y.size / 4), factor};
  recording.dispatch(kernel, {x, y}, push, (push.count + 63) / 64);
}

Buffer filled(test::Session& device, uint32_t value, const char* name) {
  return device.words(std::vector<uint32_t>(kCount, value), name);
}

}  // namespace

TEST_CASE("dispatches that depend on each other get a barrier, others none") {
  test::Session device;
  std::vector<uint32_t> ones(kCount, 1), twos(kCount, 2);
  Buffer a = device.words(ones, "a"), b = device.words(twos, "b"), c = device.words(ones, "c");
  Recording recording(*device.device, "hazards");
  axpy(recording, *device.device, a, b, 3);  // b = 7
  CHECK(recording.barriers() == 0);
  axpy(recording, *device.device, a, c, 5);  // c = 6; reads a, as the first does
  CHECK(recording.barriers() == 0);
  axpy(recording, *device.device, b, a, 1);  // a = 8; reads what the first wrote, writes what both read
  CHECK(recording.barriers() == 1);
  axpy(recording, *device.device, c, b, 1);  // b = 13; writes what the third reads
  CHECK(recording.barriers() == 2);
  axpy(recording, *device.device, a, b, 2);  // b = 34; write after write
  CHECK(recording.barriers() == 3);
  recording.end();
  CHECK(recording.dispatches() == 5);
  device->submit({&recording});
  CHECK(device.read(a, kCount) == std::vector<uint32_t>(kCount, 8));
  CHECK(device.read(b, kCount) == std::vector<uint32_t>(kCount, 34));
  CHECK(device.read(c, kCount) == std::vector<uint32_t>(kCount, 6));
}

TEST_CASE("only overlapping bytes are a hazard") {
  test::Session device;
  uint32_t step = std::max(256u, device->caps().storage_alignment);
  Buffer x = device.words(std::vector<uint32_t>(step, 1), "x"), y = device.words(std::vector<uint32_t>(step, 2), "y");
  Recording recording(*device.device, "ranges");
  axpy(recording, *device.device, {x, 0, step}, {y, 0, step}, 1);            // y[0] = 3
  axpy(recording, *device.device, {x, step, step}, {y, step, step}, 2);      // y[1] = 5
  axpy(recording, *device.device, {x, 0, step}, {x, 2 * step, step}, 4);     // x[2] = 5
  CHECK(recording.barriers() == 0);
  axpy(recording, *device.device, {y, 0, 2 * step}, {x, 0, 2 * step}, 1);    // x[0] = 4, x[1] = 6
  CHECK(recording.barriers() == 1);
  axpy(recording, *device.device, {x, 2 * step, step}, {y, 2 * step, step}, 0);  // y[2] = 5: x[2] is from before
  CHECK(recording.barriers() == 1);
  recording.copy({y, 2 * step, 16}, {x, 3 * step, 16});                      // reads what was just written
  CHECK(recording.barriers() == 2);
  recording.fill({y, 3 * step, step}, 9);
  CHECK(recording.barriers() == 2);
  recording.fill({x, 3 * step + 4, 4}, 8);                                   // over a part of the copy
  CHECK(recording.barriers() == 3);
  recording.end();
  device->submit({&recording});
  auto xs = device.read(x, step), ys = device.read(y, step);
  uint32_t words = step / 4;
  CHECK(xs[0] == 4);
  CHECK(xs[words - 1] == 4);
  CHECK(xs[words] == 6);
  CHECK(xs[2 * words] == 5);
  auto copied = xs.begin() + 3 * words;
  CHECK(std::vector<uint32_t>(copied, copied + 5) == std::vector<uint32_t>{5, 8, 5, 5, 1});
  CHECK(ys[0] == 3);
  CHECK(ys[words] == 5);
  CHECK(ys[2 * words] == 5);
  CHECK(ys[3 * words] == 9);
}

TEST_CASE("group counts may come from a buffer, and wait for what writes it") {
  test::Session device;
  Buffer x = filled(device, 1, "x"), y = filled(device, 0, "y");
  Buffer words = device.words({3, 0, 0, 0, 0, 0, 0, 0}, "words"), groups = device.words({0, 0, 0, 0}, "groups");
  Buffer unused = device.words({0, 0, 0, 0}, "unused");
  Recording recording(*device.device, "indirect");
  recording.dispatch(device->kernel(test::binary("test_views")), {words, groups, unused}, nullptr, 0, 1);
  Axpy push = {kCount, 1};
  const Kernel& kernel = device->kernel(test::binary("test_axpy"), {64});
  recording.dispatch_indirect(kernel, {x, y}, &push, sizeof push, groups);
  CHECK(recording.barriers() == 1);
  recording.fill(groups, 0);  // must wait until the counts are read
  CHECK(recording.barriers() == 2);
  recording.dispatch_indirect(kernel, {x, y}, &push, sizeof push, {groups, 4, 12});  // zero groups
  recording.end();
  device->submit({&recording});
  std::vector<uint32_t> expected(kCount, 0);
  std::fill_n(expected.begin(), 3 * 64, 1);
  CHECK(device.read(y, kCount) == expected);
  CHECK(device.read(words, 8) == std::vector<uint32_t>{3, 0, 0, 0, 3, 4, 5, 6});
}

TEST_CASE("a recording may stand several times in a submission") {
  test::Session device;
  Buffer x = filled(device, 1, "x"), y = filled(device, 0, "y");
  Recording twice(*device.device, "y = 2y + 1"), thrice(*device.device, "y = 3y + 1");
  axpy(twice, *device.device, x, y, 2);
  axpy(thrice, *device.device, x, y, 3);
  twice.end();
  thrice.end();
  CHECK(twice.barriers() == 0);
  uint64_t submits = device->counters().submits, dispatches = device->counters().dispatches;
  uint64_t first = device->submit({&twice, &twice, &thrice, &twice});  // 1, 3, 10, 21
  uint64_t second = device->submit({&twice, &thrice});                 // 43, 130
  CHECK(second > first);
  CHECK(device->counters().submits - submits == 2);
  CHECK(device->counters().dispatches - dispatches == 6);
  device->wait(second);
  CHECK(device->finished(first));
  CHECK(device->finished(second));
  CHECK(device.read(y, kCount) == std::vector<uint32_t>(kCount, 130));
  CHECK(device->submit({}) >= second);
  for (int i = 0; i < 50; i++) device->submit({&twice});  // more in flight than fences were ever made
  device->wait_idle();
  CHECK(error_of([&] { device->wait(1000000); }).first == VKMOE_ERROR_INTERNAL);
}

TEST_CASE("buffers live as long as a recording that uses them") {
  test::Session device;
  Buffer y = device.words(std::vector<uint32_t>(kCount, 5), "y");
  Recording recording(*device.device, "keeps");
  {
    Buffer x = device.words(std::vector<uint32_t>(kCount, 1), "x");
    axpy(recording, *device.device, x, y, 1);
  }
  recording.end();
  Buffer other = device.words(std::vector<uint32_t>(kCount, 77), "where x would have been");
  device->submit({&recording});
  CHECK(device.read(y, kCount) == std::vector<uint32_t>(kCount, 6));
}

TEST_CASE("a recording of thousands of dispatches") {
  test::Session device;
  Buffer x = filled(device, 1, "x"), y = filled(device, 0, "y");
  std::vector<Buffer> others;
  Recording recording(*device.device, "long");
  for (int i = 0; i < 3000; i++) {
    if (i % 5 == 0) others.push_back(device->create_buffer(64, MemoryUse::device, "other"));
    axpy(recording, *device.device, x, y, 1);
    axpy(recording, *device.device, {x, 0, 64}, others.back(), 1);
  }
  recording.end();
  CHECK(recording.dispatches() == 6000);
  device->submit({&recording});
  CHECK(device.read(y, kCount) == std::vector<uint32_t>(kCount, 3000));
}

TEST_CASE("a profile counts every kernel, and times it where the device can") {
  test::Session device;
  Buffer x = filled(device, 1, "x"), y = filled(device, 0, "y");
  Recording recording(*device.device, "profile", true);
  CHECK(recording.times().empty());
  for (int i = 0; i < 1500; i++) axpy(recording, *device.device, x, y, 1);  // more than one pool of timestamps
  recording.fill(x, 3);
  recording.end();
  CHECK(recording.times().empty());
  device->wait(device->submit({&recording, &recording}));
  std::vector<KernelTime> times = recording.times();
  REQUIRE(times.size() == 2);
  CHECK(times[0].kernel == "fill");
  CHECK(times[0].dispatches == 1);
  CHECK(times[1].kernel == "test_axpy(64)");
  CHECK(times[1].dispatches == 1500);
  CHECK((times[1].nanoseconds > 0) == device->caps().timestamps);
  CHECK(device.read(y, 1)[0] == 1500 + 4500);
  Recording plain(*device.device, "plain");
  plain.end();
  device->wait(device->submit({&plain}));
  CHECK(plain.times().empty());
}

TEST_CASE("a profile sums the work that is noted, also what follows from data; without profile nothing is copied") {
  test::Session device;
  Buffer x = filled(device, 7, "x"), y = filled(device, 0, "y");
  for (bool profile : {true, false}) {
    Recording recording(*device.device, "work", profile);
    recording.note({5, 100});
    axpy(recording, *device.device, x, y, 1);
    axpy(recording, *device.device, x, y, 1);  // has no note
    const uint32_t* seen = recording.watch({x, 4, 8});
    CHECK((seen != nullptr) == profile);
    recording.note([seen] { return WorkCount{seen[0], seen[1] * 10ull}; });
    axpy(recording, *device.device, x, y, 1);
    recording.end();
    device->wait(device->submit({&recording}));
    if (!profile) continue;
    std::vector<KernelTime> times = recording.times();
    REQUIRE(times.size() == 1);  // the copy for watch() is none of them
    CHECK(times[0].dispatches == 3);
    CHECK(times[0].work.bytes == 12);
    CHECK(times[0].work.flops == 170);
  }
}

TEST_CASE("VKMOE_SYNC runs recordings one at a time") {
  test::Environment sync("VKMOE_SYNC", "1");
  test::Session device;
  Buffer x = filled(device, 1, "x"), y = filled(device, 0, "y");
  Recording recording(*device.device, "one");
  axpy(recording, *device.device, x, y, 1);
  recording.end();
  device->wait_idle();
  uint64_t submits = device->counters().submits;
  uint64_t ticket = device->submit({&recording, &recording, &recording});
  CHECK(device->finished(ticket));
  CHECK(device->counters().submits == submits + 3);
  CHECK(device.read(y, 1)[0] == 3);
}

TEST_CASE("a dispatch is checked against the kernel's reflection") {
  test::Session device;
  const Kernel& kernel = device->kernel(test::binary("test_axpy"), {64});
  Buffer x = filled(device, 1, "x"), y = filled(device, 0, "y");
  Recording recording(*device.device, "checks");
  Axpy push = {kCount, 1};
  auto check_fails = [&](vkmoe_status expected, const std::string& part, const std::vector<BufferView>& bindings,
                         uint32_t push_bytes, uint32_t groups) {
    auto [status, message] = error_of([&] { recording.dispatch(kernel, bindings, &push, push_bytes, groups); });
    CHECK(status == expected);
    CHECK_MESSAGE(contains(message, part), message);
    CHECK_MESSAGE(contains(message, "test_axpy(64)"), message);
  };
  auto view = [](const Buffer& buffer, uint64_t offset, uint64_t size) {
    BufferView view(buffer);
    view.offset = offset;
    view.size = size;
    return view;
  };
  check_fails(VKMOE_ERROR_INTERNAL, "4 bytes of push constants given, it has 8", {x, y}, 4, 1);
  check_fails(VKMOE_ERROR_INTERNAL, "1 buffers given, it has 2 bindings", {x}, 8, 1);
  check_fails(VKMOE_ERROR_INTERNAL, "3 buffers given", {x, y, y}, 8, 1);
  check_fails(VKMOE_ERROR_INTERNAL, "binding 1: range [0, +4112) lies outside of buffer 'y' of 4096 bytes",
              {x, view(y, 0, 4112)}, 8, 1);
  check_fails(VKMOE_ERROR_INTERNAL, "lies outside", {view(x, 4096, 16), y}, 8, 1);
  check_fails(VKMOE_ERROR_INTERNAL, "lies outside", {view(x, ~uint64_t(0) - 255, 512), y}, 8, 1);
  check_fails(VKMOE_ERROR_INTERNAL, "lies outside", {view(x, 0, 0), y}, 8, 1);
  check_fails(VKMOE_ERROR_INTERNAL, "binding 0: offset 2 is not a multiple of", {view(x, 2, 16), y}, 8, 1);
  check_fails(VKMOE_ERROR_INTERNAL, "binding 1 has no buffer", {x, BufferView()}, 8, 1);
  if (device->caps().max_groups[0] < ~0u) {
    check_fails(VKMOE_ERROR_UNSUPPORTED, "workgroups along axis 0", {x, y}, 8, device->caps().max_groups[0] + 1);
  }
  auto indirect = [&](const BufferView& groups) {
    return error_of([&] { recording.dispatch_indirect(kernel, {x, y}, &push, 8, groups); }).second;
  };
  CHECK(contains(indirect(view(x, 2, 12)), "4-byte words"));
  CHECK(contains(indirect(view(x, 4088, 8)), "need 12 bytes"));
  CHECK(contains(indirect(view(x, 4088, 12)), "lies outside"));
  CHECK(contains(error_of([&] { recording.copy({x, 0, 16}, {y, 0, 32}); }).second, "16 bytes from 'x' to 32"));
  CHECK(contains(error_of([&] { recording.copy({x, 0, 32}, {x, 16, 32}); }).second, "overlap"));
  CHECK(contains(error_of([&] { recording.copy({x, 2, 4}, {y, 0, 4}); }).second, "4-byte words"));
  CHECK(contains(error_of([&] { recording.fill(view(y, 4096, 4), 0); }).second, "lies outside"));
  CHECK(contains(error_of([&] { device->submit({&recording}); }).second, "has not ended"));
  recording.dispatch(kernel, {x, y}, push, 0);  // no groups: nothing
  recording.end();
  CHECK(recording.dispatches() == 0);
  CHECK(contains(error_of([&] { recording.dispatch(kernel, {x, y}, push, 1); }).second, "has ended"));
  CHECK(contains(error_of([&] { recording.end(); }).second, "has ended"));
  device->submit({&recording});
  CHECK(device.read(y, kCount) == std::vector<uint32_t>(kCount, 0));
}
