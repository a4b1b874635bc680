// Every weight format on the device: embed and matmul against the CPU's decode and against the same values as F32.
#include <algorithm>
#include <cctype>

#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

// Random bits make good blocks of any format, except where a scale is not finite, so large that sums overflow or so
// small that a device may flush it to zero.
void fill_block(const Format& format, std::mt19937& random, uint8_t* block) {
  std::vector<float> values(format.block_elems);
  auto good = [](float v) { return v == 0 || (std::abs(v) < 1e9f && std::abs(v) > 1e-30f); };
  do {
    for (uint32_t i = 0; i < format.block_bytes; ++i) block[i] = uint8_t(random());
    format.decode(block, values.data());
  } while (!std::all_of(values.begin(), values.end(), good));
}

// Random matrices, one for each expert, in a format and as the F32 values that it decodes to.
struct Pair {
  Tensor tensor, decoded;
  std::vector<uint8_t> bytes;
  std::vector<float> values;  // (experts, n, k)
  Matrix matrix, f32;

  Pair(const Format& format, uint32_t experts, uint32_t n, uint32_t k, uint32_t seed)
      : bytes(experts * n * row_bytes(format, k)), values(experts * n * k) {
    std::mt19937 random(seed);
    for (size_t at = 0; at < bytes.size(); at += format.block_bytes) fill_block(format, random, &bytes[at]);
    for (uint32_t r = 0; r < experts * n; ++r)
      decode_row(format, &bytes[r * row_bytes(format, k)], 0, k, &values[r * k]);
    tensor = {"weight", &format, {experts, n, k}, bytes.data(), bytes.size()};
    decoded = {"decoded", find_format("F32"), {experts, n, k},
               reinterpret_cast<const uint8_t*>(values.data()), values.size() * 4};
    matrix.n = f32.n = n;
    matrix.k = f32.k = k;
    for (uint32_t e = 0; e < experts; ++e) {
      matrix.experts.push_back({{&tensor, e * n, n, 1}});
      f32.experts.push_back({{&decoded, e * n, n, 1}});
    }
  }
};

Weight place(const Matrix& matrix, const Matrix* up = nullptr) {
  return place_weight(*device(), matrix, up, "weight", [](uint64_t) {});
}

// Odd numbers of device blocks, so that tails do not end with a word; no multiple of 32 where the format allows it.
uint32_t columns(const Format& format) {
  return format.block_elems == 1 ? 40 : format.block_elems * (format.block_elems == 32 ? 11 : 3);
}

Rows random_rows(uint32_t n, uint32_t k, uint32_t seed, std::vector<float>* values = nullptr) {
  std::mt19937 random(seed);
  uint32_t stride = row_stride(k);
  std::vector<float> x(n * stride);
  for (float& v : x) v = float(int(random() % 2001) - 1000) / 512;
  for (uint32_t r = 0; r < n; ++r) std::fill(x.begin() + r * stride + k, x.begin() + (r + 1) * stride, 0.0f);
  if (values) *values = x;
  Buffer buffer = device()->create_buffer(x.size() * 4, MemoryUse::device, "x");
  device()->upload(buffer, 0, x.data(), x.size() * 4);
  return {buffer, stride};
}
Rows space(uint32_t n, uint32_t width) {
  return {device()->create_buffer(n * row_stride(width) * 4, MemoryUse::device, "y"), row_stride(width)};
}
BufferView words(const std::vector<uint32_t>& values) {
  Buffer buffer = device()->create_buffer(values.size() * 4, MemoryUse::device, "words");
  device()->upload(buffer, 0, values.data(), values.size() * 4);
  return buffer;
}

void run(const Tuning& tuning, const std::function<void(Recorder&)>& body) {
  Recording recording(*device(), "format test");
  Recorder recorder{*device(), recording, tuning};
  body(recorder);
  recording.end();
  device()->wait(device()->submit({&recording}));
}

std::vector<float> download(const Rows& y, uint32_t n, uint32_t width) {
  std::vector<float> all(n * y.stride), values;
  device()->read_back(y.view.buffer, 0, all.data(), all.size() * 4);
  for (uint32_t r = 0; r < n; ++r) values.insert(values.end(), &all[r * y.stride], &all[r * y.stride] + width);
  return values;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
}

// Results of n_rows rows, `at_once` rows a dispatch.
std::vector<float> dense(const Tuning& tuning, const Weight& weight, const Rows& x, uint32_t n_rows,
                         uint32_t at_once) {
  std::vector<float> all;
  for (uint32_t first = 0; first < n_rows; first += at_once) {
    uint32_t n = std::min(at_once, n_rows - first);
    Rows y = space(n, weight.n);
    run(tuning, [&](Recorder& r) { matmul(r, {.weight = weight, .x = x, .y = y, .n_rows = n, .x_first = first}); });
    std::vector<float> part = download(y, n, weight.n);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

// Thirteen tokens, one expert each, sorted and in tiles of all heights; experts 1, 0, 1.
std::vector<float> sorted(const Weight& weight, const Rows& x) {
  Tuning tuning = Tuning::of(device()->caps());
  Rows y = space(13, weight.n);
  Routing routing;
  routing.n_tokens = 13;
  routing.top_k = 1;
  routing.tile_capacity = 1;
  std::vector<uint32_t> order = {4, 0, 1, 12, 2, 3, 5, 11, 6, 7, 8, 9, 10};
  routing.sorted = words(order);
  routing.tiles = words({1, 0, 1, 0, 0, 1, 4, 0, 1, 5, 8, 0});
  run(tuning, [&](Recorder& r) {
    MatmulGroups groups = matmul_groups(r, weight, weight);
    routing.groups = words({1, groups.rows[0][0], 1, 0, 0, 0, 0, 0, 1, groups.rows[1][0], 1, 0, 0, 0, 0, 0,
                            1, groups.rows[2][0], 1, 0, 0, 0, 0, 0});
    expert_matmul(r, {.weight = weight, .x = x, .y = y, .routing = routing, .use = 0, .epilogue = EPILOGUE_GATED});
  });
  return download(y, 13, weight.n);
}

// One token, experts 1 and 0.
std::vector<float> direct(const Weight& weight, const Rows& x) {
  Rows y = space(2, weight.n);
  Routing routing;
  routing.n_tokens = 1;
  routing.top_k = 2;
  routing.ids = words({1, 0});
  run(Tuning::of(device()->caps()),
      [&](Recorder& r) { expert_matmul(r, {.weight = weight, .x = x, .y = y, .routing = routing, .use = 0, .epilogue = EPILOGUE_GATED}); });
  return download(y, 2, weight.n);
}

}  // namespace

TEST_CASE("embed gives exactly the CPU's values") {
  for (const Format* format : all_formats()) {
    CAPTURE(format->name);
    uint32_t n = 70, k = columns(*format);
    Pair pair(*format, 1, n, k, 1);
    Weight table = place(pair.matrix);
    std::vector<uint32_t> tokens(n);
    for (uint32_t i = 0; i < n; ++i) tokens[i] = n - 1 - i;
    Rows y = space(n, k);
    BufferView ids = words(tokens);
    run(Tuning::of(device()->caps()), [&](Recorder& r) { embed(r, table, ids, y, n, 1.0f); });
    std::vector<float> got = download(y, n, k);
    size_t wrong = 0;
    for (uint32_t i = 0; i < n; ++i)
      wrong += std::memcmp(&got[i * k], &pair.values[tokens[i] * k], k * 4) != 0;
    CHECK(wrong == 0);
  }
  check_no_validation_messages();
}

TEST_CASE("matmul gives the bits of the decoded values as F32, however rows are grouped") {
  for (const Format* format : all_formats()) {
    CAPTURE(format->name);
    uint32_t n = 70, k = columns(*format), n_rows = 9;
    Pair pair(*format, 1, n, k, 2);
    std::vector<float> x_values;
    Rows x = random_rows(n_rows, k, 3, &x_values);
    Weight weight = place(pair.matrix), f32 = place(pair.f32);
    Tuning tuning = Tuning::of(device()->caps()), shared = tuning;
    std::vector<float> want = dense(tuning, f32, x, n_rows, 1);
    for (uint32_t at_once : {1, 4, 9}) {
      CAPTURE(at_once);
      CHECK(same_bits(dense(tuning, weight, x, n_rows, at_once), want));
    }
    for (Tuning::Matmul& shape : shared.matmul) shape = {2, 4, 1};  // segments shared out
    CHECK(same_bits(dense(shared, weight, x, n_rows, 4), want));

    // k products and sums, each rounded once, and eight segments.
    double worst = 0;
    for (uint32_t t = 0; t < n_rows; ++t) {
      for (uint32_t r = 0; r < n; ++r) {
        double sum = 0, norm = 0;
        for (uint32_t i = 0; i < k; ++i) {
          double product = double(pair.values[r * k + i]) * x_values[t * x.stride + i];
          sum += product;
          norm += std::abs(product);
        }
        worst = std::max(worst, std::abs(want[t * n + r] - sum) / (norm * (k + 8) * 0x1p-24 + 1e-300));
      }
    }
    CHECK(worst <= 1);
  }
  check_no_validation_messages();
}

TEST_CASE("expert matmul gives the bits of the decoded values as F32") {
  for (const Format* format : all_formats()) {
    CAPTURE(format->name);
    uint32_t n = 40, k = columns(*format);
    Pair gate(*format, 2, n, k, 4), up(*format, 2, n, k, 5);
    Rows x = random_rows(13, k, 6);
    Weight weight = place(gate.matrix, &up.matrix), f32 = place(gate.f32, &up.f32);
    CHECK(same_bits(sorted(weight, x), sorted(f32, x)));
    CHECK(same_bits(direct(weight, x), direct(f32, x)));
  }
  check_no_validation_messages();
}
