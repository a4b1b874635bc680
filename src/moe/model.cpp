#include "moe/model.h"

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

// Weights, and for a LayerNorm biases, too.
Buffer place_norm(Device& device, const Hyper& h, const NormSpec& norm, const std::string& name) {
  std::vector<float> values = joined({norm.weight, norm.bias});
  if (h.norm == NORM_LAYER) values.resize(2 * size_t(h.hidden), 0.0f);
  return place_vector(device, values, name);
}

void place_latent_attention(Device& device, const LayerSpec& spec, DeviceLayer& layer, uint32_t index, const Placed& placed) {
  auto name = [&](const char* what) { return cat("layer ", index, " ", what); };
  layer.kv_a_norm = place_vector(device, vector_values(*spec.kv_a_norm), name("key-value latent norm"));
  if (spec.q_a) {
    layer.q_a_norm = place_vector(device, vector_values(*spec.q_a_norm), name("query latent norm"));
    layer.q_b = place_weight(device, spec.q, nullptr, name("queries"), placed);
  }
  if (spec.k_b_transposed) layer.k_b = place_weight(device, spec.k_b, nullptr, name("key absorption"), placed);
  else layer.k_b = place_weight(device, Transposed(spec.k_b).matrix(), nullptr, name("key absorption"), placed);
  layer.v_b = place_weight(device, spec.v_b, nullptr, name("values"), placed);
}

DeviceLayer place_layer(Device& device, const Hyper& h, const LayerSpec& spec, uint32_t index, const Placed& placed) {
  auto name = [&](const char* what) { return cat("layer ", index, " ", what); };
  DeviceLayer layer;
  layer.attention_norm = place_norm(device, h, spec.attention_norm, name("attention norm"));
  layer.ffn_norm = place_norm(device, h, spec.ffn_norm, name("ffn norm"));
  if (h.post_norms) {
    layer.attention_post_norm = place_norm(device, h, spec.attention_post_norm, name("attention post norm"));
    layer.ffn_post_norm = place_norm(device, h, spec.ffn_post_norm, name("ffn post norm"));
  }
  std::vector<float> qk_norms = joined({spec.q_norm, spec.k_norm});
  if (!h.qk_norm_weights) qk_norms.assign(2 * h.head_dim, 1.0f);
  layer.qk_norms = place_vector(device, qk_norms, name("query and key norms"));
  layer.has_sinks = spec.sinks != nullptr;
  layer.sinks = place_vector(device, joined({spec.sinks}), name("attention sinks"));
  layer.router_bias = place_vector(device, joined({spec.router_bias}), name("router bias"));
  std::vector<const Matrix*> parts = {&spec.q, &spec.k, &spec.v};
  if (spec.kv_a) parts = {spec.q_a ? &spec.q_a : &spec.q, &spec.kv_a};
  Matrix qkv = stack(parts);
  if (qkv.one_format()) {
    layer.qkv.push_back(place_weight(device, qkv, nullptr, name("qkv"), placed));
  } else {
    for (const Matrix* m : parts) layer.qkv.push_back(place_weight(device, *m, nullptr, name("qkv"), placed));
  }
  if (spec.kv_a) place_latent_attention(device, spec, layer, index, placed);
  layer.o = place_weight(device, spec.o, nullptr, name("attention output"), placed);
  layer.has_experts = bool(spec.router);
  if (layer.has_experts) layer.router = place_weight(device, spec.router, nullptr, name("router"), placed);
  layer.gate_up = place_weight(device, spec.gate, &spec.up, name("expert gate and up"), placed);
  layer.down = place_weight(device, spec.down, nullptr, name("expert down"), placed);
  if (spec.shared_gate) {
    layer.shared_gate_up = place_weight(device, spec.shared_gate, &spec.shared_up, name("shared gate and up"), placed);
    layer.shared_down = place_weight(device, spec.shared_down, nullptr, name("shared down"), placed);
  }
  if (spec.shared_router) layer.shared_router = place_weight(device, spec.shared_router, nullptr, name("shared router"), placed);
  return layer;
}

}  // namespace

uint64_t Model::weight_bytes() const {
  uint64_t bytes = embedding.bytes() + (head.shards.empty() ? 0 : head.bytes()) + final_norm.size();
  for (const DeviceLayer& l : layers) {
    bytes += l.attention_norm.size() + l.ffn_norm.size() + l.qk_norms.size() + l.o.bytes() + l.gate_up.bytes() + l.down.bytes();
    for (const Weight& w : l.qkv) bytes += w.bytes();
    bytes += l.q_a_norm.size() + l.kv_a_norm.size() + l.q_b.bytes() + l.k_b.bytes() + l.v_b.bytes();
    if (l.has_experts) bytes += l.router.bytes();
    bytes += l.shared_gate_up.bytes() + l.shared_down.bytes() + l.shared_router.bytes();
  }
  return bytes;
}

std::shared_ptr<Model> place_model(std::shared_ptr<Device> device, const ModelSpec& spec,
                                   const std::function<void(uint64_t, uint64_t)>& progress) {
  auto model = std::make_shared<Model>();
  model->device = device;
  model->hyper = spec.hyper;
  model->parameters = count_parameters(spec);
  uint64_t done = 0, total = model->parameters.weight_bytes;
  Placed placed = [&](uint64_t bytes) { progress(std::min(done += bytes, total), total); };
  progress(0, total);
  model->embedding = place_weight(*device, spec.embedding, nullptr, "embedding", placed);
  if (!spec.tied_head) model->head = place_weight(*device, spec.head, nullptr, "output head", placed);
  model->final_norm = place_norm(*device, spec.hyper, spec.final_norm, "final norm");
  for (uint32_t i = 0; i < spec.hyper.n_layers; ++i)
    model->layers.push_back(place_layer(*device, spec.hyper, spec.layers[i], i, placed));
  progress(total, total);
  return model;
}

}  // namespace vkmoe
