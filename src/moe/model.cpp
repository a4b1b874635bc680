#include "moe/model.h"

#include <algorithm>

#include "moe/positions.h"

namespace vkmoe {
namespace {

// Values of vectors one after the other; a single 0 where there are none.
std::vector<float> joined(const std::vector<const Tensor*>& vectors) {
  std::vector<float> all;
  for (const Tensor* tensor : vectors) {
    if (!tensor) continue;
    std::vector<float> values = vector_values(*tensor);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all.empty() ? std::vector<float>{0} : all;
}

// Puts weights on the device, or says only what shapes they would have there.
struct Placer {
  std::shared_ptr<Device> device;
  const Placed* placed;  // nullptr: shapes only

  Weight weight(const Matrix& matrix, const Matrix* up, const std::string& name, bool as_f32 = false) const {
    return placed ? place_weight(*device, matrix, up, name, *placed, as_f32)
                  : weight_shape(device->caps(), matrix, up, name, as_f32);
  }
  Buffer vector(const std::vector<float>& values, const std::string& name) const {
    return placed ? place_vector(*device, values, name) : Buffer();
  }
};

// Weights, and for a LayerNorm biases, too.
Buffer place_norm(const Placer& placer, const Hyper& h, const NormSpec& norm, const std::string& name) {
  std::vector<float> values = joined({norm.weight, norm.bias});
  if (h.norm == NORM_LAYER) values.resize(2 * size_t(h.hidden), 0.0f);
  return placer.vector(values, name);
}

void place_latent_attention(const Placer& placer, const LayerSpec& spec, DeviceLayer& layer, uint32_t index) {
  auto name = [&](const char* what) { return cat("layer ", index, " ", what); };
  layer.kv_a_norm = placer.vector(vector_values(*spec.kv_a_norm), name("key-value latent norm"));
  if (spec.q_a) {
    layer.q_a_norm = placer.vector(vector_values(*spec.q_a_norm), name("query latent norm"));
    layer.q_b = placer.weight(spec.q, nullptr, name("queries"));
  }
  if (spec.k_b_transposed) {
    layer.k_b = placer.weight(spec.k_b, nullptr, name("key absorption"));
  } else {
    Transposed k_b(spec.k_b);
    if (placer.placed) k_b.fill();
    layer.k_b = placer.weight(k_b.matrix(), nullptr, name("key absorption"));
  }
  layer.v_b = placer.weight(spec.v_b, nullptr, name("values"));
}

// One Weight where the formats agree and all or none are biased, else one for each.
std::vector<Weight> place_stacked(const Placer& placer, const std::vector<const Matrix*>& parts, const std::string& name) {
  std::vector<Weight> placed_weights;
  Matrix whole = stack(parts);
  bool same_bias = std::all_of(parts.begin(), parts.end(), [&](auto* m) { return m->bias.empty() == whole.bias.empty(); });
  if (whole.one_format() && same_bias) {
    placed_weights.push_back(placer.weight(whole, nullptr, name));
  } else {
    for (const Matrix* m : parts) placed_weights.push_back(placer.weight(*m, nullptr, name));
  }
  return placed_weights;
}

DeviceLayer place_layer(const Placer& placer, const Hyper& h, const LayerSpec& spec, uint32_t index) {
  auto name = [&](const char* what) { return cat("layer ", index, " ", what); };
  DeviceLayer layer;
  layer.attention_norm = place_norm(placer, h, spec.attention_norm, name("attention norm"));
  layer.ffn_norm = place_norm(placer, h, spec.ffn_norm, name("ffn norm"));
  if (h.post_norms) {
    layer.attention_post_norm = place_norm(placer, h, spec.attention_post_norm, name("attention post norm"));
    layer.ffn_post_norm = place_norm(placer, h, spec.ffn_post_norm, name("ffn post norm"));
  }
  std::vector<float> qk_norms = joined({spec.q_norm, spec.k_norm});
  if (!h.qk_norm_weights) qk_norms.assign(2 * h.head_dim, 1.0f);
  layer.qk_norms = placer.vector(qk_norms, name("query and key norms"));
  layer.has_sinks = spec.sinks != nullptr;
  layer.sinks = placer.vector(joined({spec.sinks}), name("attention sinks"));
  layer.router_bias = placer.vector(joined({spec.router_bias}), name("router bias"));
  std::vector<const Matrix*> parts = {&spec.q, &spec.k, &spec.v};
  if (spec.kv_a) parts = {spec.q_a ? &spec.q_a : &spec.q, &spec.kv_a};
  layer.qkv = place_stacked(placer, parts, name("qkv"));
  if (spec.kv_a) place_latent_attention(placer, spec, layer, index);
  layer.o = placer.weight(spec.o, nullptr, name("attention output"));
  if (h.cross_attention) {
    layer.cross.norm = place_norm(placer, h, spec.cross_norm, name("cross attention norm"));
    layer.cross.q = placer.weight(spec.cross_q, nullptr, name("cross attention queries"));
    layer.cross.kv = place_stacked(placer, {&spec.cross_k, &spec.cross_v}, name("cross attention kv"));
    layer.cross.o = placer.weight(spec.cross_o, nullptr, name("cross attention output"));
  }
  layer.has_experts = bool(spec.router);
  // Exact, and little: so that one kernel serves all (router.comp).
  LayerExperts experts = layer_experts(h, spec);
  layer.n_shared = experts.n_shared;
  layer.gated_shared = experts.gated_shared;
  if (layer.has_experts) layer.router = placer.weight(experts.router, nullptr, name("router"), true);
  layer.gate_up = placer.weight(experts.gate, h.gated ? &experts.up : nullptr, name("expert gate and up"));
  layer.down = placer.weight(experts.down, nullptr, name("expert down"));
  if (layer.n_shared) return layer;
  if (spec.shared_gate) {
    layer.shared_gate_up = placer.weight(spec.shared_gate, &spec.shared_up, name("shared gate and up"));
    layer.shared_down = placer.weight(spec.shared_down, nullptr, name("shared down"));
  }
  if (spec.shared_router) layer.shared_router = placer.weight(spec.shared_router, nullptr, name("shared router"));
  return layer;
}

}  // namespace

uint64_t Model::weight_bytes() const {
  uint64_t bytes = embedding.bytes() + (head.shards.empty() ? 0 : head.bytes()) + final_norm.size();
  if (encoder) bytes += encoder->weight_bytes() - (encoder->own_embedding ? 0 : embedding.bytes());
  for (const DeviceLayer& l : layers) {
    bytes += l.attention_norm.size() + l.ffn_norm.size() + l.qk_norms.size() + l.o.bytes() + l.gate_up.bytes() + l.down.bytes();
    for (const Weight& w : l.qkv) bytes += w.bytes();
    bytes += l.q_a_norm.size() + l.kv_a_norm.size() + l.q_b.bytes() + l.k_b.bytes() + l.v_b.bytes();
    for (const Weight& w : l.cross.kv) bytes += w.bytes();
    bytes += l.cross.q.bytes() + l.cross.o.bytes();
    if (l.has_experts) bytes += l.router.bytes();
    bytes += l.shared_gate_up.bytes() + l.shared_down.bytes() + l.shared_router.bytes();
  }
  return bytes;
}

uint32_t Model::most_shared() const {
  uint32_t most = 0;
  for (const DeviceLayer& layer : layers) most = std::max(most, layer.n_shared);
  return most;
}

namespace {

// whole: the model of an encoder, or nullptr.
std::shared_ptr<Model> place_stack(const Placer& placer, const ModelSpec& spec, const Model* whole) {
  auto model = std::make_shared<Model>();
  model->device = placer.device;
  model->hyper = spec.hyper;
  model->parameters = count_parameters(spec);
  model->own_embedding = !whole || spec.own_embedding;
  model->embedding = model->own_embedding ? placer.weight(spec.embedding, nullptr, "embedding") : whole->embedding;
  if (!whole && !spec.tied_head) model->head = placer.weight(spec.head, nullptr, "output head");
  model->final_norm = place_norm(placer, spec.hyper, spec.final_norm, "final norm");
  std::vector<float> bias = {0};
  if (spec.position_bias) bias = position_bias(spec.hyper, vector_values(*spec.position_bias));
  model->position_bias = placer.vector(bias, "position bias");
  for (uint32_t i = 0; i < spec.hyper.n_layers; ++i)
    model->layers.push_back(place_layer(placer, spec.hyper, spec.layers[i], i));
  if (spec.encoder) model->encoder = place_stack(placer, *spec.encoder, model.get());
  return model;
}

}  // namespace

std::shared_ptr<Model> model_shapes(std::shared_ptr<Device> device, const ModelSpec& spec) {
  return place_stack({device, nullptr}, spec, nullptr);
}

std::shared_ptr<Model> place_model(std::shared_ptr<Device> device, const ModelSpec& spec,
                                   const std::function<void(uint64_t, uint64_t)>& progress) {
  uint64_t done = 0, total = count_parameters(spec).weight_bytes;
  Placed placed = [&](uint64_t bytes) { progress(std::min(done += bytes, total), total); };
  progress(0, total);
  std::shared_ptr<Model> model = place_stack({device, &placed}, spec, nullptr);
  for (const auto& file : spec.file->files) file->release(file->data(), file->size());  // norms, and what reading ahead brought
  progress(total, total);
  return model;
}

}  // namespace vkmoe
