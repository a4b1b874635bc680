#include "moe/activations.h"

#include <algorithm>
#include <cmath>

#include "base/numeric.h"
#include "moe/positions.h"

namespace vkmoe {
namespace {

constexpr uint64_t all_logits_bytes = 16 << 20;

uint32_t qkv_columns(const Hyper& h) {
  const LatentAttention& l = h.latent;
  if (!l.kv_rank) return (h.n_heads + 2 * h.n_kv_heads) * h.head_dim;
  return (l.q_rank ? l.q_rank : h.n_heads * (l.nope_dim + h.rotary_dim)) + l.kv_rank + h.rotary_dim;
}

// Names and sizes of the activations, listed once for allocation and for accounting.
template <class Add>
void list_activations(const Hyper& h, uint32_t n_shared, uint32_t capacity, uint32_t chunk, Add&& add) {
  auto rows = [&](uint64_t n, uint64_t k) { return n * row_stride(uint32_t(k)) * 4; };
  uint64_t assignments = uint64_t(chunk) * std::max(h.top_k + n_shared, 1u), heads = h.n_heads;
  uint64_t experts = std::max(h.n_experts + n_shared, 1u);
  bool dense = std::find(h.layer_has_experts.begin(), h.layer_has_experts.end(), false) != h.layer_has_experts.end();
  add("residual stream", rows(chunk, h.hidden));
  add("normed", rows(chunk, h.hidden));
  add("queries, keys, values", rows(chunk, qkv_columns(h)));
  const LatentAttention& l = h.latent;
  uint64_t over = 32 * 4;  // a matmul per head reads whole blocks, past the last head by less than one
  add("query latent", l.q_rank ? rows(chunk, qkv_columns(h)) : 16);
  add("latent queries", l.q_rank ? rows(chunk, heads * (l.nope_dim + h.rotary_dim)) + over : 16);
  add("attended latents", l.kv_rank ? rows(chunk, heads * l.kv_rank) + over : 16);
  add("queries", chunk * heads * h.head_dim * 4);
  add("attention output", rows(chunk, h.attended_dim()));
  add("attention partials", attention_partials(h.n_heads, uint32_t(ceil_div(capacity, KEY_BLOCK)), h.cached_value_dim()) * 4);
  add("router logits", rows(chunk, h.n_experts + 1));  // and what a shared expert weighs
  add("expert ids", assignments * 4);
  add("expert weights", assignments * 4);
  add("chosen experts", h.gate.drop ? assignments * 4 : 16);
  add("chosen scores", h.gate.drop ? assignments * 4 : 16);
  add("expert counts", ceil_div(assignments, SORT_CHUNK) * experts * 4);
  add("expert offsets", (experts + 1) * 4);
  add("sorted assignments", assignments * 4);
  add("slots", assignments * 4);
  add("expert tiles", assignments * TILE_HEIGHTS * 16);
  add("expert groups", TILE_HEIGHTS * 2 * DISPATCH_WORDS * 4);
  add("expert hidden", rows(assignments, std::max(h.expert_ff, 1u)));
  add("expert output", rows(assignments, h.hidden));
  add("dense hidden", dense ? rows(chunk, h.dense_ff) : 16);
  uint64_t shared_rows = h.shared_ff ? chunk : 1;
  add("shared hidden", rows(shared_rows, std::max(h.shared_ff, 1u)));
  add("shared output", rows(shared_rows, h.hidden));
  add("shared logit", rows(shared_rows, 1));
  add("shared ids", shared_rows * 4);
  add("shared weights", shared_rows * 4);
  uint64_t most_rounded = 16;
  for (Products products : {Products::int8, Products::fp16}) {
    most_rounded = std::max(most_rounded, rounded_rows_bytes(products, assignments, h.expert_ff));
    for (uint32_t k : {h.hidden, h.attended_dim(), h.latent.q_rank, dense ? h.dense_ff : 0, h.shared_ff})
      most_rounded = std::max(most_rounded, rounded_rows_bytes(products, chunk, k));
  }
  add("rounded rows", most_rounded);
  uint64_t row_bytes = h.bidirectional ? 16 : h.vocab * 4ull;  // an encoder has no logits
  add("logits", row_bytes);
  add("adjusted logits", row_bytes);
  add("logits of many rows", h.bidirectional ? 16 : std::max<uint64_t>(all_logits_bytes / row_bytes, 1) * row_bytes);
  add("angles", std::max<uint64_t>(uint64_t(capacity) * h.rotary_dim * 4, 16));
  add("positions", h.sinusoidal ? (capacity + 1ull) * h.hidden * 4 : 16);
  add("end of the input", sizeof(Step));
  add("cross attention groups", 16);
  add("step", sizeof(Step));
  add("tokens", chunk * 4ull);
  add("history", HISTORY * 4);
  add("sampling rule", sizeof(SampleRule));
  add("attention groups", MAX_KEY_SPANS * 16);
}

void fill_angles(Device& device, const Buffer& buffer, const Hyper& h, uint32_t capacity) {
  uint32_t pairs = h.rotary_dim / 2;
  double factor = rope_attention_factor(h.rope_scaling, capacity);
  std::vector<double> frequencies = rope_frequencies(h.rope_scaling, h.rope_theta, h.rotary_dim, capacity);
  std::vector<float> table(size_t(capacity) * pairs * 2);
  for (uint32_t i = 0; i < pairs; ++i) {
    for (uint32_t position = 0; position < capacity; ++position) {
      table[(size_t(position) * pairs + i) * 2] = float(factor * std::cos(position * frequencies[i]));
      table[(size_t(position) * pairs + i) * 2 + 1] = float(factor * std::sin(position * frequencies[i]));
    }
  }
  device.upload(buffer, 0, table.data(), table.size() * 4);
}

// Of one token in one layer: its keys, or its values.
uint64_t key_bytes(const Hyper& h, bool half) { return uint64_t(h.n_kv_heads) * h.head_dim * (half ? 2 : 4); }

// How many layers' worth of keys and values are kept.
uint64_t cached_layers(const Hyper& h) { return h.bidirectional ? 1 : h.n_layers * (h.cross_attention ? 2ull : 1ull); }

}  // namespace

uint64_t kv_layer_bytes(const Hyper& h, bool half) { return (h.latent.kv_rank ? 1 : 2) * key_bytes(h, half); }

uint64_t kv_cache_bytes(const Hyper& h, uint32_t capacity_tokens, bool half) {
  return kv_layer_bytes(h, half) * cached_layers(h) * capacity_tokens;
}

uint64_t activation_bytes(const Hyper& h, uint32_t n_shared, uint32_t capacity_tokens, uint32_t chunk_tokens) {
  uint64_t bytes = 0;
  list_activations(h, n_shared, capacity_tokens, chunk_tokens, [&](const char*, uint64_t size) { bytes += round_up(size, 16); });
  return bytes;
}

uint32_t default_chunk_tokens(const Caps& caps) { return caps.type == "cpu" ? 128 : 512; }

Activations::Activations(const Model& model, uint32_t capacity_tokens, uint32_t chunk_tokens, bool half_cache, bool shapes_only)
    : capacity(capacity_tokens),
      chunk(chunk_tokens),
      half_cache(half_cache),
      max_blocks(uint32_t(ceil_div(capacity_tokens, KEY_BLOCK))) {
  Device& device = *model.device;
  const Hyper& h = model.hyper;
  uint64_t layer_bytes = key_bytes(h, half_cache) * capacity;
  if (layer_bytes > device.caps().max_binding_bytes && !shapes_only)
    fail(VKMOE_ERROR_UNSUPPORTED, "a context of ", capacity, " tokens needs ", layer_bytes, " bytes of keys a layer, but ",
         device.caps().name, " binds at most ", device.caps().max_binding_bytes, ": ask for a shorter context");
  Recording zero(device, "clear");
  auto make = [&](const std::string& name, uint64_t size) {
    if (shapes_only) return Buffer();
    Buffer buffer = device.create_buffer(size, MemoryUse::device, name);
    zero.fill(buffer, 0);
    return buffer;
  };
  for (uint32_t layer = 0; layer < (h.bidirectional ? 1 : h.n_layers); ++layer) {
    keys.push_back(make("keys", layer_bytes));
    if (!h.latent.kv_rank) values.push_back(make("values", layer_bytes));
    if (!h.cross_attention) continue;
    cross_keys.push_back(make("cross keys", layer_bytes));
    cross_values.push_back(make("cross values", layer_bytes));
  }
  std::vector<Buffer> made;
  list_activations(h, model.most_shared(), capacity, chunk, [&](const char* name, uint64_t size) { made.push_back(make(name, size)); });
  auto next = [&, i = size_t(0)]() mutable { return made.at(i++); };
  auto rows = [&](uint32_t k) { return Rows{next(), row_stride(k)}; };
  x = rows(h.hidden);
  normed = rows(h.hidden);
  qkv = rows(qkv_columns(h));
  q_latent = rows(qkv_columns(h));
  q_heads = rows(h.n_heads * (h.latent.nope_dim + h.rotary_dim));
  if (h.latent.q_rank == 0) q_heads = qkv;
  attended_latent = rows(h.n_heads * h.latent.kv_rank);
  queries = next();
  attended = rows(h.attended_dim());
  partials = next();
  router = rows(h.n_experts + 1);
  routing.ids = next();
  routing.weights = next();
  routing.chosen = next();
  routing.scores = next();
  routing.counts = next();
  routing.offsets = next();
  routing.sorted = next();
  routing.slot_of = next();
  routing.tiles = next();
  routing.groups = next();
  routing.top_k = h.top_k;
  routing.tile_capacity = chunk * (h.top_k + model.most_shared());
  expert_hidden = rows(h.expert_ff);
  expert_out = rows(h.hidden);
  dense_hidden = rows(h.dense_ff);
  shared_hidden = rows(h.shared_ff);
  shared_out = rows(h.hidden);
  shared_logit = rows(1);
  shared_ids = next();
  shared_weights = next();
  rounded_rows = next();
  logits = next();
  adjusted = next();
  all_logits = next();
  logits_rows = uint32_t(all_logits.size() / (h.vocab * 4ull));
  angles = next();
  positions = next();
  input_end = next();
  cross_groups = next();
  step = next();
  tokens = next();
  history = next();
  rule = next();
  attention_groups = next();
  if (shapes_only) return;
  ring = device.create_buffer(SAMPLE_RING * 4, MemoryUse::readback, "sampled ids");
  zero.end();
  device.wait(device.submit({&zero}));
  if (h.rotary_dim) fill_angles(device, angles, h, capacity);
  if (h.sinusoidal) {
    std::vector<float> table = sinusoidal_positions(capacity, h.hidden, h.padding_id);
    device.upload(positions, 0, table.data(), table.size() * 4);
  }
}

Routing Activations::routing_for(uint32_t n_tokens, const DeviceLayer& layer) const {
  Routing r = routing;
  r.n_tokens = n_tokens;
  r.n_shared = layer.n_shared;
  r.gated_shared = layer.gated_shared;
  return r;
}

}  // namespace vkmoe
