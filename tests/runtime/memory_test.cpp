#include <algorithm>
#include <random>

#include "base/numeric.h"
#include "fixture.h"
#include "runtime/device_impl.h"

using namespace vkmoe;
using test::contains;
using test::error_of;

TEST_CASE("ranges do not overlap, are aligned, and join again") {
  constexpr uint64_t kSize = 1 << 20;
  RangeAllocator ranges(kSize);
  std::mt19937 random(1);
  std::map<uint64_t, uint64_t> taken;
  size_t refused = 0;
  for (int step = 0; step < 20000; step++) {
    if (taken.empty() || random() % 5 < 3) {
      uint64_t size = 1 + random() % (random() % 8 ? 4096 : 200000), alignment = uint64_t(1) << random() % 13;
      auto offset = ranges.allocate(size, alignment);
      if (!offset) {
        refused++;
        continue;
      }
      REQUIRE(*offset % alignment == 0);
      REQUIRE(*offset + size <= kSize);
      auto next = taken.lower_bound(*offset);
      REQUIRE((next == taken.end() || *offset + size <= next->first));
      REQUIRE((next == taken.begin() || std::prev(next)->first + std::prev(next)->second <= *offset));
      taken[*offset] = size;
    } else {
      auto victim = std::next(taken.begin(), ptrdiff_t(random() % taken.size()));
      ranges.release(victim->first, victim->second);
      taken.erase(victim);
    }
  }
  CHECK(refused > 0);
  for (auto [offset, size] : taken) {
    CHECK(!ranges.empty());
    ranges.release(offset, size);
  }
  CHECK(ranges.empty());
  CHECK(ranges.allocate(kSize, 1) == 0);
  CHECK(!ranges.allocate(1, 1));
}

TEST_CASE("buffers share blocks, keep their bytes, and give everything back") {
  test::Session device;
  uint64_t before = device->counters().memory_bytes;
  std::mt19937 random(2);
  std::vector<std::pair<Buffer, uint32_t>> buffers;
  for (int step = 0; step < 300; step++) {
    if (buffers.size() > 20 && random() % 2) {
      size_t victim = random() % buffers.size();
      Buffer& buffer = buffers[victim].first;
      uint32_t expected = buffers[victim].second, first, last;
      device->read_back(buffer, 0, &first, 4);
      device->read_back(buffer, buffer.size() - 4, &last, 4);
      REQUIRE(first == expected);
      REQUIRE(last == expected);
      buffers.erase(buffers.begin() + ptrdiff_t(victim));
      continue;
    }
    uint64_t size = 4 + random() % (random() % 10 ? 100000 : 5000000);
    auto use = MemoryUse(random() % 3);
    Buffer buffer = device->create_buffer(size, use, "random");
    REQUIRE(buffer.size() >= size);
    REQUIRE(buffer.size() % 16 == 0);
    REQUIRE((use == MemoryUse::device || buffer.mapped() != nullptr));
    uint32_t value = random();
    device->upload(buffer, 0, &value, 4);
    device->upload(buffer, buffer.size() - 4, &value, 4);
    buffers.emplace_back(std::move(buffer), value);
  }
  CHECK(device->counters().memory_bytes > before);
  CHECK(device->counters().peak_memory_bytes >= device->counters().memory_bytes);
  buffers.clear();
  device->wait_idle();
  // Two staging buffers stay, and the block with the buffer to read back.
  uint64_t staging = device->caps().unified_memory ? 0 : (16 + 16 + 64) << 20;
  CHECK(device->counters().memory_bytes <= before + staging);
}

TEST_CASE("sizes that cannot be are refused, by name") {
  test::Session device;
  auto [status, message] = error_of([&] { device->create_buffer(0, MemoryUse::device, "empty"); });
  CHECK(status == VKMOE_ERROR_INVALID_ARGUMENT);
  for (uint64_t size : {device->caps().max_binding_bytes + 1, ~uint64_t(0)}) {
    std::tie(status, message) = error_of([&] { device->create_buffer(size, MemoryUse::device, "bank 7"); });
    CHECK(status == VKMOE_ERROR_UNSUPPORTED);
    CHECK(contains(message, "buffer 'bank 7': " + std::to_string(size) + " bytes wanted"));
    CHECK(contains(message, std::to_string(device->caps().max_binding_bytes)));
  }
  VkMemoryRequirements needs = {uint64_t(1) << 50, 16, ~0u};
  std::tie(status, message) =
      error_of([&] { device->impl()->gpu->memory->allocate(needs, MemoryUse::device, "cache of layer 3"); });
  CHECK(status == VKMOE_ERROR_OUT_OF_MEMORY);
  CHECK(contains(message, "buffer 'cache of layer 3': 1125899906842624 bytes wanted, "));
  CHECK(contains(message, " bytes of device memory there"));
}

namespace {

// Byte i of a long upload.
uint8_t pattern(uint64_t i) { return uint8_t(i * 7 + (i >> 8) * 13 + (i >> 16) * 29); }

void check_long_upload(test::Session& device) {
  const uint64_t size = (40 << 20) + 13, offset = 5;
  Buffer buffer = device->create_buffer(size + offset + 3, MemoryUse::device, "long");
  uint64_t expected_at = 0;
  device->upload(buffer, offset, size, [&](uint64_t at, uint64_t count, void* out) {
    REQUIRE(at == expected_at);
    expected_at += count;
    for (uint64_t i = 0; i < count; i++) static_cast<uint8_t*>(out)[i] = pattern(at + i);
  });
  CHECK(expected_at == size);
  std::vector<uint8_t> back(size);
  device->read_back(buffer, offset, back.data(), size);
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < size; i++) wrong += back[i] != pattern(i);
  CHECK(wrong == 0);
  CHECK(device->counters().bytes_uploaded == size);
  CHECK(device->counters().bytes_read_back == size);
}

}  // namespace

TEST_CASE("uploads larger than the staging buffers") {
  SUBCASE("as the device is") {
    test::Session device;
    check_long_upload(device);
  }
  SUBCASE("through staging buffers") {
    test::Environment least("VKMOE_CAPS", "least");
    test::Session device;
    check_long_upload(device);
  }
}

TEST_CASE("uploads are ordered with each other and with what was submitted") {
  for (const char* caps : {"", "least"}) {
    test::Environment environment("VKMOE_CAPS", caps);
    test::Session device;
    Buffer a = device.words(std::vector<uint32_t>(1 << 16, 1), "a"), b = device.words({0, 0, 0, 0}, "b");
    Recording recording(*device.device, "copy");
    recording.copy({a, 4096, 16}, b);
    recording.end();
    uint32_t two = 2, three = 3;
    device->upload(a, 4096, &two, 4);
    device->upload(a, 4096, &three, 4);  // over the one before
    uint64_t submits = device->counters().submits;
    device->submit({&recording});
    CHECK(device->counters().submits == submits + 1);  // what was staged goes along
    std::vector<uint32_t> late(1 << 16, 4);
    device->upload(a, 0, late.data(), late.size() * 4);  // must not reach the copy
    CHECK(device.read(b, 4) == std::vector<uint32_t>{3, 1, 1, 1});
    CHECK(device.read(a, 1 << 16) == late);
  }
}

TEST_CASE("an upload's buffer may go before the copy is done, and its data may fail to come") {
  test::Environment least("VKMOE_CAPS", "least");
  test::Session device;
  std::vector<uint8_t> bytes(20 << 20, 1);
  for (int i = 0; i < 3; i++) {
    Buffer gone = device->create_buffer(bytes.size(), MemoryUse::device, "gone");
    device->upload(gone, 0, bytes.data(), bytes.size());
  }
  Buffer buffer = device.words({1, 2, 3, 4}, "buffer");
  auto no_file = [](uint64_t, uint64_t, void*) { throw std::runtime_error("no file"); };
  CHECK_THROWS_AS(device->upload(buffer, 0, 16, no_file), std::runtime_error);
  CHECK(device.read(buffer, 4) == std::vector<uint32_t>{1, 2, 3, 4});
  uint32_t word = 0;
  CHECK(error_of([&] { device->upload(buffer, 13, &word, 4); }).first == VKMOE_ERROR_INTERNAL);
  CHECK(error_of([&] { device->upload(buffer, ~uint64_t(0), &word, 4); }).first == VKMOE_ERROR_INTERNAL);
  CHECK(error_of([&] { device->read_back(buffer, 16, &word, 4); }).first == VKMOE_ERROR_INTERNAL);
  CHECK(error_of([&] { device->read_back(Buffer(), 0, &word, 4); }).first == VKMOE_ERROR_INTERNAL);
}
