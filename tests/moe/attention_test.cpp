// Attention with windows, chunks and sinks: against the reference, whole and shared out, and without a look at the keys
// that a query does not see.
#include <limits>

#include "moe/ops/ops.h"
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

constexpr uint32_t n_heads = 6, n_kv_heads = 2, head_dim = 20, capacity = 256;

Buffer place(const std::vector<float>& values) { return place_vector(*device(), values, "attention test"); }

std::vector<float> random_values(size_t n, uint32_t seed, float scale) {
  std::mt19937 random(seed);
  std::vector<float> values(n);
  for (float& v : values) v = scale * float(int(random() % 2001) - 1000) / 1000;
  return values;
}

// Keys and values of all positions, (position, head, head_dim).
struct Cache {
  std::vector<float> keys = random_values(capacity * n_kv_heads * head_dim, 1, 1.5f);
  std::vector<float> values = random_values(capacity * n_kv_heads * head_dim, 2, 1);

  // As the kernels have it; positions outside of [first, end) are not a number.
  KvCache on_device(uint32_t first, uint32_t end) const {
    std::vector<float> k(keys.size()), v(values.size());
    for (uint32_t head = 0; head < n_kv_heads; ++head) {
      for (uint32_t position = 0; position < capacity; ++position) {
        for (uint32_t i = 0; i < head_dim; ++i) {
          size_t from = (size_t(position) * n_kv_heads + head) * head_dim + i;
          bool there = position >= first && position < end;
          float nan = std::numeric_limits<float>::quiet_NaN();
          k[((size_t(head) * (head_dim / 4) + i / 4) * capacity + position) * 4 + i % 4] = there ? keys[from] : nan;
          v[(size_t(head) * capacity + position) * head_dim + i] = there ? values[from] : nan;
        }
      }
    }
    return {place(k), place(v)};
  }
};

std::vector<float> run(const Tuning& tuning, const KeySpan& span, uint32_t position, uint32_t n_tokens, const KvCache& cache,
                       const std::vector<float>& queries, const std::vector<float>& sinks) {
  AttentionParams p = {};
  p.n_tokens = n_tokens;
  p.n_heads = n_heads;
  p.n_kv_heads = n_kv_heads;
  p.head_dim = p.value_dim = head_dim;
  p.capacity = capacity;
  p.out_stride = n_heads * head_dim;
  p.span = span;
  p.has_sinks = !sinks.empty();
  p.max_blocks = capacity / KEY_BLOCK;
  p.scale = 0.25f;
  std::vector<float> y(size_t(n_tokens) * p.out_stride);
  Buffer q = place(queries), out = place(y), partials = place(std::vector<float>(attention_partials(n_heads, p.max_blocks, head_dim)));
  Buffer step = place(std::vector<float>(sizeof(Step) / 4)), groups = place(std::vector<float>(MAX_KEY_SPANS * 4));
  Step state = {position, position + n_tokens, 0, 0};
  device()->upload(step, 0, &state, sizeof(state));
  Recording recording(*device(), "attention test");
  Recorder r{*device(), recording, tuning};
  begin_step(r, step, groups, n_heads, n_kv_heads, head_dim, {{0, 0}, span}, false);
  attention(r, step, q, cache, {out, p.out_stride}, partials, {groups, 16, 12}, place(sinks.empty() ? std::vector<float>{0} : sinks), q, p);
  recording.end();
  device()->wait(device()->submit({&recording}));
  device()->read_back(out, 0, y.data(), y.size() * 4);
  return y;
}

}  // namespace

TEST_CASE("attention: windows, chunks and sinks give the reference's values, and keys outside of them are not read") {
  Cache cache;
  const uint32_t first_position = 150, n_tokens = 9;
  std::vector<float> queries = random_values(size_t(n_tokens) * n_heads * head_dim, 3, 1.5f), some = random_values(n_heads, 4, 3);
  for (KeySpan span : {KeySpan{0, 0}, KeySpan{1, 0}, KeySpan{40, 0}, KeySpan{128, 0}, KeySpan{1000, 0}, KeySpan{0, 50},
                       KeySpan{0, 64}, KeySpan{0, 1000}, KeySpan{20, 50}}) {
    for (const std::vector<float>& sinks : {std::vector<float>{}, some}) {
      CAPTURE(span.window);
      CAPTURE(span.chunk);
      CAPTURE(sinks.size());
      auto first_key = [&](uint32_t at) {
        uint32_t first = span.window && at + 1 > span.window ? at + 1 - span.window : 0;
        return span.chunk ? std::max(first, at / span.chunk * span.chunk) : first;
      };
      std::vector<float> expected;
      for (uint32_t t = 0; t < n_tokens; ++t) {
        uint32_t at = first_position + t, first = first_key(at);
        for (uint32_t head = 0; head < n_heads; ++head) {
          size_t from = (size_t(first) * n_kv_heads + head / (n_heads / n_kv_heads)) * head_dim;
          const uint32_t stride = n_kv_heads * head_dim;
          std::vector<float> y = ref::attend(&queries[(t * n_heads + head) * head_dim], {&cache.keys[from], head_dim, stride},
                                             {&cache.values[from], head_dim, stride}, at + 1 - first, 0.25f, 0,
                                             sinks.empty() ? nullptr : &sinks[head]);
          expected.insert(expected.end(), y.begin(), y.end());
        }
      }
      uint32_t last = first_position + n_tokens - 1, first_block = first_key(first_position) / KEY_BLOCK * KEY_BLOCK;
      std::vector<float> whole = run(Tuning::cpu(device()->caps()), span, first_position, n_tokens,
                                     cache.on_device(first_block, last + 1), queries, sinks);
      // A value is a mean of numbers of at most 1. An exponent is a sum of 20 products of at most 2.25 * 0.25, less such a sum;
      // Vulkan promises exp(x) within 3 + 2 |x| units in the last place, twice here for the mean's denominator.
      const float exponent = 20 * 2.25f * 0.25f, epsilon = 6e-8f;
      const float weight_error = 2 * exponent * 20 * epsilon + (3 + 2 * 2 * exponent) * 2 * epsilon;
      for (size_t i = 0; i < whole.size(); ++i) CHECK(std::abs(whole[i] - expected[i]) < 2 * weight_error);
      for (uint32_t t : {0u, n_tokens - 1}) {
        uint32_t at = first_position + t;
        std::vector<float> one(queries.begin() + t * n_heads * head_dim, queries.begin() + (t + 1) * n_heads * head_dim);
        KvCache seen = cache.on_device(first_key(at) / KEY_BLOCK * KEY_BLOCK, at + 1);
        std::vector<float> row(whole.begin() + t * n_heads * head_dim, whole.begin() + (t + 1) * n_heads * head_dim);
        CHECK(run(Tuning::cpu(device()->caps()), span, at, 1, seen, one, sinks) == row);
        CHECK(run(Tuning::gpu(device()->caps()), span, at, 1, seen, one, sinks) == row);
      }
    }
  }
  check_no_validation_messages();
}
