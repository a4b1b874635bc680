// The work that ops note, which does not depend on shapes, passes or the device; and the device's own roofline.
#include "moe/roofline.h"
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

// Sums over the kernels whose names begin so, of everything that a session did with these ids in pieces.
WorkCount work(const std::shared_ptr<Model>& model, const Tuning& tuning, const std::vector<int32_t>& ids, size_t piece,
               const std::string& kernels) {
  DeviceSession session(model, 64, 0, true, tuning);
  for (size_t at = 0; at < ids.size(); at += piece) session.feed(&ids[at], std::min(piece, ids.size() - at), nullptr);
  WorkCount sum;
  const nlohmann::json stats = session.stats();
  for (const auto& kernel : stats["kernels"]) {
    if (kernel["name"].get<std::string>().rfind(kernels, 0) != 0) continue;
    sum.bytes += kernel["bytes"].get<uint64_t>();
    sum.flops += kernel["flops"].get<uint64_t>();
  }
  return sum;
}

}  // namespace

TEST_CASE("work is counted from shapes and from the rows really routed") {
  auto model = place(data("goldens/qwen3_moe"));
  const Hyper& h = model->hyper;
  const std::vector<int32_t> ids = random_ids(h.vocab, 33, 5);
  const uint64_t n = ids.size(), head = 2ull * h.vocab * h.hidden;
  for (const Tuning& tuning : {Tuning::cpu(device()->caps()), Tuning::gpu(device()->caps())}) {
    // A token alone takes the weights that count_parameters() names, and no more than activations beside them.
    const WorkCount one = work(model, tuning, {ids[0]}, 1, "matmul");
    CHECK(one.bytes >= 0.95 * double(model->parameters.decode_weight_bytes));
    CHECK(one.bytes <= 1.2 * double(model->parameters.decode_weight_bytes));
    CHECK(one.flops == doctest::Approx(2.0 * double(model->parameters.active)).epsilon(0.05));
    // In whatever pieces: only the logits of each piece's last token are computed. Larger ones share weights.
    const WorkCount alone = work(model, tuning, ids, 1, "matmul"), chunks = work(model, tuning, ids, 11, "matmul"),
                    whole = work(model, tuning, ids, n, "matmul");
    CHECK(alone.flops == n * one.flops);
    CHECK(chunks.flops == whole.flops + 2 * head);
    CHECK(alone.flops == whole.flops + (n - 1) * head);
    CHECK(whole.bytes < chunks.bytes);
    CHECK(chunks.bytes < alone.bytes);
    // Token i sees i + 1 keys.
    const uint64_t per_key = 4ull * h.head_dim * h.n_heads * h.n_layers;
    CHECK(work(model, tuning, ids, n, "attention").flops == n * (n + 1) / 2 * per_key);
    CHECK(work(model, tuning, ids, 1, "attention").flops == n * (n + 1) / 2 * per_key);
  }
  check_no_validation_messages();
}

TEST_CASE("the roofline's kernels give right results, at some speed") {
  const Roofline roofline = measure_roofline(*device());
  CHECK((roofline.read_bytes_per_second > 1e6) == device()->caps().timestamps);
  CHECK((roofline.flops_per_second > 1e6) == device()->caps().timestamps);
  check_no_validation_messages();
}
