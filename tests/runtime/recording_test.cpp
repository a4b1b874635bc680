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
