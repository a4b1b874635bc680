#include <thread>

#include "fixture.h"
#include "runtime/spirv.h"
#include "runtime/vk.h"

using namespace vkmoe;
using test::contains;
using test::error_of;

TEST_CASE("reflection says what a module binds, reads and writes") {
  const KernelBinary& axpy = test::binary("test_axpy");
  REQUIRE(axpy.binding_count == 2);
  CHECK((axpy.bindings[0].reads && !axpy.bindings[0].writes));
  CHECK((axpy.bindings[1].reads && axpy.bindings[1].writes));
  CHECK(axpy.push_bytes == 8);
  CHECK(axpy.spec_count == 1);
  CHECK(axpy.local_size_spec[0] == 0);

  const KernelBinary& constants = test::binary("test_constants");
  REQUIRE(constants.spec_count == 5);  // 4 is declared and never used
  CHECK(constants.spec_defaults[1] == 7);
  CHECK(constants.spec_defaults[2] == 0x3fc00000);
  CHECK(constants.spec_defaults[3] == 4);
  CHECK(constants.local_size_spec[0] == 0);
  CHECK(constants.local_size_spec[1] == -1);
  CHECK(constants.local_size[1] == 2);
  CHECK((!constants.bindings[0].reads && constants.bindings[0].writes));

  const KernelBinary& views = test::binary("test_views");
  REQUIRE(views.binding_count == 3);
  CHECK((views.bindings[0].reads && views.bindings[0].writes));  // of its two views together
  CHECK((!views.bindings[1].reads && views.bindings[1].writes));
  CHECK((views.bindings[2].reads && !views.bindings[2].writes));
  CHECK(views.push_bytes == 0);
  CHECK(views.spec_count == 0);
}

TEST_CASE("embedded kernels are sorted by name") {
  const auto& kernels = embedded_kernels();
  for (size_t i = 1; i < kernels.size(); i++) CHECK(std::string(kernels[i - 1].name) < kernels[i].name);
}

TEST_CASE("every embedded kernel becomes a pipeline, or says what the device lacks") {
  test::Session device;
  size_t made = 0;
  for (const KernelBinary& kernel : embedded_kernels()) {
    SpecConstants constants(kernel.spec_defaults, kernel.spec_defaults + kernel.spec_count);
    const MatrixShape& matrices = device->caps().cooperative_matrix;
    if (std::string(kernel.name).rfind("matmul_coopmat", 0) == 0 && matrices.m) {  // sizes that the device has
      constants.resize(constants.size() - 4);
      constants.insert(constants.end(), {matrices.m, matrices.n, matrices.k, matrices.lanes});
    }
    auto [status, message] = error_of([&] { device->wait({&device->kernel(kernel.name, constants)}); });
    made += status == VKMOE_OK;
    CHECK_MESSAGE((status == VKMOE_OK || status == VKMOE_ERROR_UNSUPPORTED), message);
    if (status != VKMOE_OK) MESSAGE(message);
  }
  CHECK(device->counters().pipelines_created == made);
}

TEST_CASE("specialization constants reach the kernel") {
  test::Session device;
  Buffer out = device.words({0, 0, 0, 0}, "out");
  auto run = [&](const SpecConstants& constants) {
    const Kernel& kernel = device->kernel(test::binary("test_constants"), constants);
    Recording recording(*device.device, "constants");
    recording.dispatch(kernel, {out}, nullptr, 0, 1);
    recording.end();
    device->submit({&recording});
    return device.read(out, 4);
  };
  CHECK(run({4}) == std::vector<uint32_t>{7, 6, 4, 2});
  CHECK(run({8, 99, 0x40000000, 100}) == std::vector<uint32_t>{99, 8, 8, 2});
  CHECK(device->kernel(test::binary("test_constants"), {8, 99}).label == "test_constants(8,99,1069547520,4,1)");
}

TEST_CASE("a pipeline is made once, whoever asks for it") {
  test::Session device;
  uint64_t before = device->counters().pipelines_created;
  const Kernel* kernels[8] = {};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; t++) {
    threads.emplace_back([&, t] { kernels[t] = &device->kernel(test::binary("test_axpy"), {t % 2 ? 32u : 64u}); });
  }
  for (auto& thread : threads) thread.join();
  device->wait({kernels, kernels + 8});
  for (int t = 2; t < 8; t++) CHECK(kernels[t] == kernels[t % 2]);
  CHECK(kernels[0] != kernels[1]);
  CHECK(kernels[0]->local_size[0] == 64);
  CHECK(device->counters().pipelines_created == before + 2);
  // Defaults given and left out are the same kernel.
  CHECK(&device->kernel(test::binary("test_constants"), {8}) ==
        &device->kernel(test::binary("test_constants"), {8, 7, 0x3fc00000, 4, 1}));
}

TEST_CASE("a recording has its kernels compiled before it ends, each once") {
  test::Session device;
  Buffer out = device.words({0, 0, 0, 0}, "out");
  DeviceCounters before = device->counters();
  const KernelBinary& binary = test::binary("test_constants");
  Recording nothing(*device.device, Recording::KernelsOnly{});  // asks for them, and needs no buffers
  for (uint32_t value : {1, 2, 3}) nothing.dispatch(device->kernel(binary, {4, value}), {BufferView()}, nullptr, 0, 1);
  nothing.copy({}, {});
  nothing.fill({}, 0);
  nothing.end();
  CHECK(device->counters().kernels_asked == before.kernels_asked + 3);
  Recording recording(*device.device, "three kernels");
  for (uint32_t value : {3, 1, 2, 1}) recording.dispatch(device->kernel(binary, {4, value}), {out}, nullptr, 0, 1);
  recording.end();
  CHECK(device->counters().kernels_asked == before.kernels_asked + 3);
  CHECK(device->counters().pipelines_created == before.pipelines_created + 3);
  device->submit({&recording});
  CHECK(device.read(out, 1) == std::vector<uint32_t>{1});
}

TEST_CASE("a kernel that the driver fails to compile is named where it is needed, and tried again later") {
  test::Session device;
  const KernelBinary& binary = test::binary("test_constants");
  Buffer out = device.words({0, 0, 0, 0}, "out");
  PFN_vkCreateComputePipelines real = vkCreateComputePipelines;
  vkCreateComputePipelines = [](VkDevice, VkPipelineCache, uint32_t, const VkComputePipelineCreateInfo*,
                                const VkAllocationCallbacks*, VkPipeline*) { return VK_ERROR_OUT_OF_DEVICE_MEMORY; };
  auto record = [&] {
    Recording recording(*device.device, "failing");
    recording.dispatch(device->kernel(binary, {4, 5}), {out}, nullptr, 0, 1);
    recording.end();
    device->wait(device->submit({&recording}));
  };
  auto [status, message] = error_of(record);
  CHECK(status == VKMOE_ERROR_OUT_OF_MEMORY);
  CHECK(contains(message, "test_constants(4,5,"));
  CHECK(error_of(record).second == message);
  vkCreateComputePipelines = real;
  record();
  CHECK(device.read(out, 1) == std::vector<uint32_t>{5});
}

TEST_CASE("a device may be closed while its kernels are compiled") {
  test::Session device;
  for (uint32_t value = 0; value < 40; value++) device->kernel(test::binary("test_constants"), {4, value});
}

TEST_CASE("kernels beyond the device's limits are refused before the driver sees them") {
  test::Session device;
  auto [status, message] = error_of([&] { device->kernel("no_such_kernel"); });
  CHECK(status == VKMOE_ERROR_INTERNAL);
  CHECK(contains(message, "'no_such_kernel'"));
  std::tie(status, message) = error_of([&] { device->kernel(test::binary("test_axpy"), {64, 1}); });
  CHECK(status == VKMOE_ERROR_INTERNAL);
  CHECK(contains(message, "2 specialization constants given, it has 1"));
  std::tie(status, message) = error_of([&] { device->kernel(test::binary("test_axpy"), {0}); });
  CHECK(status == VKMOE_ERROR_INTERNAL);
  std::tie(status, message) = error_of([&] { device->kernel(test::binary("test_axpy"), {1 << 20}); });
  CHECK(status == VKMOE_ERROR_UNSUPPORTED);
  CHECK(contains(message, "test_axpy(1048576)"));
  uint32_t words = device->caps().max_shared_bytes / 8;
  CHECK(spirv_shared_bytes(test::binary("test_constants"), {1, 7, 0, words, 1}) == uint64_t(words) * 8);
  device->kernel(test::binary("test_constants"), {1, 7, 0, words});
  std::tie(status, message) = error_of([&] { device->kernel(test::binary("test_constants"), {1, 7, 0, words + 1}); });
  CHECK(status == VKMOE_ERROR_UNSUPPORTED);
  CHECK(contains(message, std::to_string(words * 8 + 8) + " bytes of shared memory, the device allows " +
                              std::to_string(words * 8)));
}

TEST_CASE("a module's capabilities must be enabled") {
  test::Session device;
  const KernelBinary& axpy = test::binary("test_axpy");
  CHECK(spirv_capabilities(axpy) == std::vector<uint32_t>{1});
  std::vector<uint32_t> words(axpy.words, axpy.words + axpy.word_count);
  words.insert(words.begin() + 5, {2u << 16 | 17, 10});  // OpCapability Float64
  KernelBinary with_double = axpy;
  with_double.words = words.data();
  with_double.word_count = uint32_t(words.size());
  auto [status, message] = error_of([&] { device->kernel(with_double, {64}); });
  CHECK(status == VKMOE_ERROR_UNSUPPORTED);
  CHECK(contains(message, "test_axpy(64) needs SPIR-V capability 10"));
}
