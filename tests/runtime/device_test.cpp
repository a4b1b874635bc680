#include <filesystem>

#include "fixture.h"
#include "runtime/queue.h"

using namespace vkmoe;
using test::contains;
using test::error_of;

TEST_CASE("list_devices lists what can be opened, best first") {
  nlohmann::json devices = list_devices();
  REQUIRE(!devices.empty());
  std::vector<std::string> order = {"discrete", "integrated", "virtual", "cpu", "other"};
  size_t rank = 0;
  for (size_t i = 0; i < devices.size(); i++) {
    const nlohmann::json& device = devices[i];
    CHECK(device["index"] == i);
    CHECK(!device["name"].get<std::string>().empty());
    size_t own_rank = size_t(std::find(order.begin(), order.end(), device["type"]) - order.begin());
    REQUIRE(own_rank < order.size());
    CHECK(own_rank >= rank);
    rank = own_rank;
    if (!device["usable"].get<bool>()) {
      CHECK(!device["reason"].get<std::string>().empty());
      continue;
    }
    auto opened = Device::open(std::to_string(i));
    CHECK(opened->caps().name == device["name"]);
    CHECK(device["limits"]["max_binding_bytes"] == opened->caps().max_binding_bytes);
    CHECK(device["capabilities"]["fp16"] == opened->caps().fp16);
    CHECK(opened->caps().api_version >= (1u << 22 | 1u << 12));
    CHECK(opened->caps().max_binding_bytes >= 128 << 20);
    CHECK(opened->caps().max_shared_bytes >= 16 << 10);
    CHECK(opened->caps().max_invocations >= 128);
    CHECK(opened->caps().max_push_bytes >= 128);
    CHECK(opened->caps().memory_bytes > 0);
    CHECK(opened->caps().subgroup_size >= 1);
  }
}

TEST_CASE("a selector is an index or a part of a name") {
  std::string name = Device::open("")->caps().name;
  CHECK(Device::open("0")->caps().name == name);
  std::string part = name.substr(1, 5);
  for (char& c : part) c = char(c >= 'a' && c <= 'z' ? c - 32 : c + (c >= 'A' && c <= 'Z' ? 32 : 0));
  CHECK(Device::open(part)->caps().name == name);
  for (const char* wrong : {"no such device", "4711", "-1"}) {
    auto [status, message] = error_of([&] { Device::open(wrong); });
    CHECK(status == VKMOE_ERROR_NO_DEVICE);
    CHECK(contains(message, std::string("'") + wrong + "'"));
    CHECK(contains(message, name));  // what there is
  }
}

// Run by the next case in a process of its own, where the loader finds no driver.
TEST_CASE("child: no driver" * doctest::skip()) {
  CHECK(list_devices().empty());
  for (int i = 0; i < 2; i++) {
    auto [status, message] = error_of([] { Device::open(""); });
    CHECK(status == VKMOE_ERROR_NO_DEVICE);
    CHECK(contains(message, "no Vulkan driver"));
  }
}

TEST_CASE("without a driver there is a clear error") {
  std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  for (const char* list : {"/nonexistent/icd.json", "/dev/null"}) {
    test::Environment files("VK_ICD_FILENAMES", list), newer("VK_DRIVER_FILES", list);
    std::string command = "'" + self + "' --no-skip --test-case='child: no driver' > /dev/null 2>&1";
    CHECK(std::system(command.c_str()) == 0);
  }
}

TEST_CASE("VKMOE_CAPS=least is the least device") {
  test::Environment least("VKMOE_CAPS", "least");
  test::Session device;
  const Caps& caps = device->caps();
  CHECK(caps.max_shared_bytes == 16384);
  CHECK(caps.max_invocations == 128);
  CHECK(caps.max_binding_bytes == 128 << 20);
  CHECK(caps.max_push_bytes == 128);
  CHECK(caps.max_storage_buffers == 8);
  CHECK(!(caps.fp16 || caps.int8 || caps.storage16 || caps.storage8 || caps.integer_dot || caps.cooperative_matrix.m));
  CHECK(!(caps.subgroup_arithmetic || caps.subgroup_ballot || caps.subgroup_shuffle || caps.buffer_device_address));
  CHECK(!caps.unified_memory);
  CHECK(device->create_buffer(64, MemoryUse::device, "weights").mapped() == nullptr);
  auto [status, message] = error_of([&] { device->kernel(test::binary("test_axpy"), {129}); });
  CHECK(status == VKMOE_ERROR_UNSUPPORTED);
  CHECK(contains(message, "test_axpy(129) needs 129 invocations a workgroup, the device allows 128"));
}

TEST_CASE("an unknown VKMOE_CAPS is refused") {
  test::Environment most("VKMOE_CAPS", "most");
  CHECK(error_of([] { Device::open(""); }).first == VKMOE_ERROR_INVALID_ARGUMENT);
  CHECK(list_devices().empty());
}

TEST_CASE("several devices can be open, and buffers and recordings may outlive theirs") {
  Buffer buffer;
  std::unique_ptr<Recording> recording;
  {
    test::Session first, second;
    buffer = first.words({1, 2, 3, 4}, "kept");
    Buffer other = second.words({5, 6, 7, 8}, "other");
    recording = std::make_unique<Recording>(*first.device, "kept");
    recording->fill(buffer, 9);
    recording->end();
    first->submit({recording.get()});
    CHECK(first.read(buffer, 4) == std::vector<uint32_t>(4, 9));
    CHECK(second.read(other, 4) == std::vector<uint32_t>{5, 6, 7, 8});
    auto [status, message] = error_of([&] { second->submit({recording.get()}); });
    CHECK(status == VKMOE_ERROR_INTERNAL);
    CHECK(contains(message, "another device"));
  }
  CHECK(buffer.size() == 16);
  CHECK(recording->dispatches() == 0);
}

TEST_CASE("messages about a lost device name the work") {
  auto work = [](uint32_t id, const char* name, std::vector<std::string> kernels) {
    auto notes = std::make_shared<WorkNotes>();
    notes->id = id;
    notes->name = name;
    notes->kernels = std::move(kernels);
    return Work(notes);
  };
  std::vector<Work> in_flight = {work(1, "prefill", {"embed", "matmul(8)"}),
                                 work(2, "decode", {"gate", "sort", "sample"})};
  CHECK(lost_message("vkWaitForFences", in_flight, ProgressMark{2, 1}) ==
        "vkWaitForFences: the device was lost; the last kernel known to have started is sort, dispatch 2 of 3 of "
        "'decode'");
  CHECK(lost_message("vkWaitForFences", in_flight, std::nullopt) ==
        "vkWaitForFences: the device was lost in 'prefill' or one of 1 submitted after it; its 2 dispatches go from "
        "embed to matmul(8)");
  CHECK(lost_message("vkQueueSubmit", {in_flight[1]}, ProgressMark{1, 0}) ==
        "vkQueueSubmit: the device was lost in 'decode'; its 3 dispatches go from gate to sample");
  CHECK(lost_message("vkQueueSubmit", {}, ProgressMark{9, 9}) ==
        "vkQueueSubmit: the device was lost; no work was in flight");
}
