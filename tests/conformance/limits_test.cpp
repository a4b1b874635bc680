// What would not fit 32-bit indices is turned down by the host, before memory is asked for: kernels index words of a binding,
// and the largest binding that Vulkan knows ends below 4 GiB (ARCHITECTURE.md).
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

// A matrix of which nothing but its size is there: whoever reads it, crashes.
void check_refused(uint32_t n_experts, uint32_t n, uint32_t k, const char* message) {
  Tensor tensor{"nothing", find_format("F32"), {n, k}, nullptr, size_t(n) * k * 4};
  Matrix matrix{n, k, {}, {}};
  matrix.experts.assign(n_experts, {{&tensor, 0, n, 1}});
  CHECK_THROWS_WITH(place_weight(*device(), matrix, nullptr, "weight", [](uint64_t) {}), doctest::Contains(message));
}

}  // namespace

TEST_CASE("a row whose tile's size passes 32 bits is refused") {
  check_refused(1, 1, 1u << 30, "weight: 137438953472 bytes of 32 rows do not fit a binding of");
  check_refused(1, 1, 0x7fffffff, "weight: 274877906944 bytes of 32 rows do not fit a binding of");
}

TEST_CASE("more tiles than a table of int32 can number are refused") {
  check_refused(64, 0x7fffffff, 4, "weight: 4294967296 tiles of 32 rows, expected at most 2147483647");
}

TEST_CASE("a context whose keys pass 32 bits is refused, naming what it needs") {
  auto model = place(VKMOE_SOURCE_DIR "/models/vkmoe-default.gguf");
  const Hyper& h = model->hyper;
  uint64_t bytes = uint64_t(h.n_kv_heads) * h.head_dim * 4 << 31;
  CHECK_THROWS_WITH(DeviceSession(model, 1u << 31, 0, false),
                    doctest::Contains(cat("a context of 2147483648 tokens needs ", bytes, " bytes of keys a layer").c_str()));
  check_no_validation_messages();
}
