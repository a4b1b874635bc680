// The whole model, token by token. Follows transformers' modelling files of the families in arch/.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "moe/positions.h"
#include "moe/ref/ref.h"
#include "moe/weights.h"

namespace vkmoe::ref {
namespace {

void add(std::vector<float>& x, float scale, const std::vector<float>& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += scale * y[i];
}

float activated(const Activation& activation, float v) {
  if (activation.kind == ACTIVATION_RELU) return std::max(v, 0.0f);
  if (activation.kind == ACTIVATION_GELU)
    return float(0.5 * v * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * std::pow(double(v), 3)))));
  return v / (1 + std::exp(-v));
}

// One value of a gated feed-forward layer's activated product (shared/matmul.h).
float gated(const Activation& activation, float gate, float up) {
  if (activation.kind == ACTIVATION_CLAMPED_SILU) {
    gate = std::min(gate, activation.limit);
    up = std::clamp(up, -activation.limit, activation.limit);
    return gate / (1 + std::exp(-activation.alpha * gate)) * (up + 1);
  }
  return activated(activation, gate) * up;
}

// down(act(gate x) * up x) of one expert (Shazeer 2020), or down(act(gate x)) without an up.
std::vector<float> feed_forward(const Activation& activation, const Matrix& gate, const Matrix& up, const Matrix& down,
                                uint32_t expert, const std::vector<float>& x) {
  std::vector<float> hidden = matvec(gate, expert, x.data());
  if (!up) {
    for (float& v : hidden) v = activated(activation, v);
    return matvec(down, expert, hidden.data());
  }
  std::vector<float> linear = matvec(up, expert, x.data());
  for (size_t i = 0; i < hidden.size(); ++i) hidden[i] = gated(activation, hidden[i], linear[i]);
  return matvec(down, expert, hidden.data());
}

void add_routing(GateRule rule, const Rows& logits, const std::vector<float>& bias, const std::vector<Choice>& all, RouteSums& sums) {
  rule.drop = DROP_NONE;
  std::vector<float> flat_logits, weights;
  std::vector<uint32_t> chosen, ids;
  for (const auto& row : logits) flat_logits.insert(flat_logits.end(), row.begin(), row.end());
  for (const Choice& choice : route(rule, logits, bias)) chosen.insert(chosen.end(), choice.experts.begin(), choice.experts.end());
  for (const Choice& choice : all) {
    ids.insert(ids.end(), choice.experts.begin(), choice.experts.end());
    weights.insert(weights.end(), choice.weights.begin(), choice.weights.end());
  }
  sums.add(flat_logits, chosen, ids, weights);
}

}  // namespace

RefStack::RefStack(const ModelSpec& spec, uint32_t capacity_tokens)
    : choices(spec.hyper.n_layers), spec_(spec), keys_(spec.hyper.n_layers), values_(spec.hyper.n_layers) {
  const Hyper& h = spec.hyper;
  frequencies_ = rope_frequencies(h.rope_scaling, h.rope_theta, h.rotary_dim, capacity_tokens);
  rope_factor_ = rope_attention_factor(h.rope_scaling, capacity_tokens);
}

std::vector<float> RefStack::norm(const NormSpec& norm, const std::vector<float>& x) const {
  const Hyper& h = spec_.hyper;
  if (h.norm == NORM_RMS) return rmsnorm(x.data(), vector_values(*norm.weight), h.rms_epsilon);
  std::vector<float> bias;
  if (norm.bias) bias = vector_values(*norm.bias);
  return layernorm(x.data(), vector_values(*norm.weight), bias, h.rms_epsilon);
}

std::vector<float> RefStack::project(const LayerSpec& layer, uint32_t index, const std::vector<float>& x, uint32_t position) {
  const Hyper& h = spec_.hyper;
  uint32_t d = h.head_dim, stride = h.n_kv_heads * d;
  std::vector<float> normed = norm(layer.attention_norm, x);
  std::vector<float> q = matvec(layer.q, 0, normed.data()), k = matvec(layer.k, 0, normed.data());
  std::vector<float> v = matvec(layer.v, 0, normed.data());
  auto clip = [&](float* values, size_t n) {
    for (size_t i = 0; h.qkv_clip > 0 && i < n; ++i) values[i] = std::clamp(values[i], -h.qkv_clip, h.qkv_clip);
  };
  auto norm_in_place = [&](float* x, const Tensor* norm) {
    std::vector<float> y = rmsnorm(x, norm ? vector_values(*norm) : std::vector<float>(d, 1.0f), h.rms_epsilon);
    std::copy(y.begin(), y.end(), x);
  };
  const LayerAttention& options = h.attention[index];
  uint32_t norm_kind = options.normed ? h.qk_norm : QK_NORM_NONE;
  auto turn = [&](std::vector<float>& heads, const Tensor* norm) {
    if (norm_kind == QK_NORM_FULL) norm_in_place(heads.data(), norm);
    for (uint32_t i = 0; i < heads.size(); i += d) {
      if (norm_kind == QK_NORM_HEAD) norm_in_place(&heads[i], norm);
      clip(&heads[i], d);
      if (options.rotary)
        rope(&heads[i], frequencies_, rope_factor_, h.rope_interleaved, position);
      if (norm_kind == QK_NORM_AFTER_ROPE) norm_in_place(&heads[i], norm);
    }
  };
  turn(q, layer.q_norm);
  turn(k, layer.k_norm);
  clip(v.data(), v.size());
  if (options.tempered) {
    double steps = std::floor((position + 1.0) / h.temperature_floor);
    for (float& v : q) v *= float(1 + h.temperature_scale * std::log1p(steps));
  }
  keys_[index].resize(size_t(position) * stride);
  values_[index].resize(size_t(position) * stride);
  keys_[index].insert(keys_[index].end(), k.begin(), k.end());
  values_[index].insert(values_[index].end(), v.begin(), v.end());
  return q;
}

std::vector<float> RefStack::attention(const LayerSpec& layer, uint32_t index, const std::vector<float>& q, uint32_t position,
                                       uint32_t n_tokens) const {
  const Hyper& h = spec_.hyper;
  uint32_t d = h.head_dim, stride = h.n_kv_heads * d, group = h.n_heads / h.n_kv_heads;
  uint32_t end = h.bidirectional ? n_tokens : position + 1;
  const KeySpan& span = h.attention[index].span;
  uint32_t first = span.window && position + 1 > span.window ? position + 1 - span.window : 0;
  if (span.chunk) first = std::max(first, position / span.chunk * span.chunk);
  std::vector<float> sinks, buckets;
  if (layer.sinks) sinks = vector_values(*layer.sinks);
  if (spec_.position_bias) buckets = vector_values(*spec_.position_bias);
  std::vector<float> attended;
  for (uint32_t head = 0; head < h.n_heads; ++head) {
    size_t from = size_t(first) * stride + head / group * d;
    std::vector<float> bias;  // T5's
    for (uint32_t key = first; key < end && spec_.position_bias; ++key) {
      uint32_t bucket = position_bucket(int(key) - int(position), h.bidirectional, h.position_buckets, h.position_distance);
      bias.push_back(buckets[bucket * h.n_heads + head]);
    }
    std::vector<float> y = attend(&q[head * d], {&keys_[index][from], d, stride}, {&values_[index][from], d, stride},
                                  end - first, h.attention_scale, h.attention_softcap,
                                  sinks.empty() ? nullptr : &sinks[head], bias);
    attended.insert(attended.end(), y.begin(), y.end());
  }
  std::vector<float> y = matvec(layer.o, 0, attended.data());
  return h.post_norms ? norm(layer.attention_post_norm, y) : y;
}

// Every head's keys and values are made from the latent and kept, as in transformers' expand_kv: nothing is absorbed here.
std::vector<float> RefStack::latent_attention(const LayerSpec& layer, uint32_t index, const std::vector<float>& x,
                                                uint32_t position) {
  const Hyper& h = spec_.hyper;
  const LatentAttention& l = h.latent;
  uint32_t d = l.nope_dim + h.rotary_dim, stride = h.n_heads * d, value_stride = h.n_heads * l.value_dim;
  auto turn = [&](float* head) { rope(head, frequencies_, h.rope_scaling.attention_factor, h.rope_interleaved, position); };
  std::vector<float> normed = norm(layer.attention_norm, x);
  std::vector<float> from = normed;
  if (l.q_rank) from = rmsnorm(matvec(layer.q_a, 0, normed.data()).data(), vector_values(*layer.q_a_norm), l.epsilon);
  std::vector<float> q = matvec(layer.q, 0, from.data()), kv = matvec(layer.kv_a, 0, normed.data());
  std::vector<float> latent = rmsnorm(kv.data(), vector_values(*layer.kv_a_norm), l.epsilon), k, v;
  turn(&kv[l.kv_rank]);
  for (uint32_t head = 0; head < h.n_heads; ++head) {
    turn(&q[head * d + l.nope_dim]);
    std::vector<float> nope = layer.k_b_transposed ? transposed_matvec(layer.k_b, head, latent.data())
                                                   : matvec(layer.k_b, head, latent.data());
    k.insert(k.end(), nope.begin(), nope.end());
    k.insert(k.end(), kv.begin() + l.kv_rank, kv.end());
    std::vector<float> values = matvec(layer.v_b, head, latent.data());
    v.insert(v.end(), values.begin(), values.end());
  }
  keys_[index].resize(size_t(position) * stride);
  values_[index].resize(size_t(position) * value_stride);
  keys_[index].insert(keys_[index].end(), k.begin(), k.end());
  values_[index].insert(values_[index].end(), v.begin(), v.end());
  std::vector<float> attended;
  for (uint32_t head = 0; head < h.n_heads; ++head) {
    std::vector<float> y = attend(&q[head * d], {&keys_[index][head * d], d, stride},
                                  {&values_[index][head * l.value_dim], l.value_dim, value_stride}, position + 1,
                                  h.attention_scale, h.attention_softcap);
    attended.insert(attended.end(), y.begin(), y.end());
  }
  std::vector<float> y = matvec(layer.o, 0, attended.data());
  return h.post_norms ? norm(layer.attention_post_norm, y) : y;
}

std::vector<float> RefStack::cross_attention(const LayerSpec& layer, uint32_t index, const std::vector<float>& x) const {
  const Hyper& h = spec_.hyper;
  uint32_t d = h.head_dim, stride = h.n_kv_heads * d, group = h.n_heads / h.n_kv_heads;
  std::vector<float> q = matvec(layer.cross_q, 0, norm(layer.cross_norm, x).data()), attended;
  for (uint32_t head = 0; head < h.n_heads; ++head) {
    size_t from = head / group * d;
    std::vector<float> y = attend(&q[head * d], {&cross_keys_[index][from], d, stride}, {&cross_values_[index][from], d, stride},
                                  uint32_t(cross_keys_[index].size() / stride), h.attention_scale, 0);
    attended.insert(attended.end(), y.begin(), y.end());
  }
  return matvec(layer.cross_o, 0, attended.data());
}

std::vector<float> RefStack::expert_sum(const LayerSpec& layer, const Choice& choice, const std::vector<float>& normed) const {
  const Hyper& h = spec_.hyper;
  std::vector<float> sum(h.hidden, 0.0f);
  for (size_t j = 0; j < choice.experts.size(); ++j) {
    if (choice.experts[j] == NO_EXPERT) continue;
    std::vector<float> input = normed;
    float weight = choice.weights[j];
    if (layer.router && h.scaled_expert_input) {
      for (float& v : input) v *= weight;
      weight = 1;
    }
    add(sum, weight, feed_forward(h.activation, layer.gate, layer.up, layer.down, choice.experts[j], input));
  }
  if (layer.shared_gate) {
    float weight = 1;
    if (layer.shared_router) weight = 1 / (1 + std::exp(-matvec(layer.shared_router, 0, normed.data())[0]));
    add(sum, weight, feed_forward(h.activation, layer.shared_gate, layer.shared_up, layer.shared_down, 0, normed));
  }
  return h.post_norms ? norm(layer.ffn_post_norm, sum) : sum;
}

Rows RefStack::experts(const LayerSpec& layer, uint32_t index, const Rows& x) {
  const Hyper& h = spec_.hyper;
  Rows normed, logits, sums;
  for (const auto& row : x) normed.push_back(norm(layer.ffn_norm, row));
  std::vector<Choice> all(x.size(), Choice{{0}, {1.0f}});  // a dense layer is one expert of weight 1
  if (layer.router) {
    std::vector<float> bias;
    if (layer.router_bias) bias = vector_values(*layer.router_bias);
    for (const auto& row : normed) logits.push_back(matvec(layer.router, 0, row.data()));
    GateRule rule = gate_rule(h, uint32_t(x.size()));
    all = route(rule, logits, bias);
    if (routing) add_routing(rule, logits, bias, all, routing->at(index));
  }
  for (size_t t = 0; t < x.size(); ++t) sums.push_back(expert_sum(layer, all[t], normed[t]));
  choices[index] = all.back();
  return sums;
}

Rows RefStack::embed(const int32_t* ids, uint32_t count, uint32_t position) const {
  const Hyper& h = spec_.hyper;
  Rows x(count, std::vector<float>(h.hidden));
  std::vector<float> table;
  if (h.sinusoidal) table = sinusoidal_positions(position + count, h.hidden, h.padding_id);
  uint32_t seen = position;  // tokens that are no padding; in the cache all count
  for (uint32_t t = 0; t < count; ++t) {
    const Format* format;
    std::vector<uint8_t> scratch;
    const uint8_t* row = spec_.embedding.row(0, uint32_t(ids[t]), &format, scratch);
    decode_row(*format, row, 0, h.hidden, x[t].data());
    for (float& v : x[t]) v *= h.embedding_scale;
    if (!h.sinusoidal || uint32_t(ids[t]) == h.padding_id) continue;
    ++seen;
    for (uint32_t i = 0; i < h.hidden; ++i) x[t][i] += table[size_t(seen) * h.hidden + i];
  }
  return x;
}

Rows RefStack::run(const int32_t* ids, uint32_t count, uint32_t position) {
  const Hyper& h = spec_.hyper;
  Rows x = embed(ids, count, position);
  for (uint32_t index = 0; index < h.n_layers; ++index) {
    const LayerSpec& layer = spec_.layers[index];
    Rows queries;
    for (uint32_t t = 0; t < count && h.latent.kv_rank; ++t)
      add(x[t], h.residual_scale, latent_attention(layer, index, x[t], position + t));
    for (uint32_t t = 0; t < count && !h.latent.kv_rank; ++t) queries.push_back(project(layer, index, x[t], position + t));
    for (uint32_t t = 0; t < queries.size(); ++t) {
      add(x[t], h.residual_scale, attention(layer, index, queries[t], position + t, count));
      if (h.cross_attention) add(x[t], h.residual_scale, cross_attention(layer, index, x[t]));
    }
    Rows sums = experts(layer, index, x);
    for (uint32_t t = 0; t < count; ++t) add(x[t], h.residual_scale, sums[t]);
  }
  for (auto& row : x) row = norm(spec_.final_norm, row);
  return x;
}

void RefStack::set_input(const Rows& encoded) {
  cross_keys_.assign(spec_.hyper.n_layers, {});
  cross_values_.assign(spec_.hyper.n_layers, {});
  for (uint32_t index = 0; index < spec_.hyper.n_layers; ++index) {
    for (const auto& row : encoded) {
      std::vector<float> k = matvec(spec_.layers[index].cross_k, 0, row.data());
      std::vector<float> v = matvec(spec_.layers[index].cross_v, 0, row.data());
      cross_keys_[index].insert(cross_keys_[index].end(), k.begin(), k.end());
      cross_values_[index].insert(cross_values_[index].end(), v.begin(), v.end());
    }
  }
}

RefSession::RefSession(std::shared_ptr<const ModelSpec> spec, uint32_t capacity_tokens)
    : Session(spec->hyper.vocab, capacity_tokens, spec->encoder != nullptr), spec_(spec), stack_(*spec, capacity_tokens) {
  if (spec->encoder) encoder_ = std::make_unique<RefStack>(*spec->encoder, capacity_tokens);
}

void RefSession::forward(const int32_t* ids, uint32_t count, uint32_t position, float* all_logits) {
  const Hyper& h = spec_->hyper;
  uint32_t at_once = h.gate.drop ? count : 1;  // a capacity is one of all tokens
  stack_.routing = routing_.empty() ? nullptr : &routing_;
  for (uint32_t done = 0; done < count; done += at_once) {
    check_cancelled();
    for (const std::vector<float>& row : stack_.run(ids + done, at_once, position + done)) {
      logits_ = matvec(spec_->head, 0, row.data());
      for (float& v : logits_) v *= h.logit_scale;
      if (!all_logits) continue;
      std::memcpy(all_logits, logits_.data(), logits_.size() * 4);
      all_logits += logits_.size();
    }
  }
}

void RefSession::forward_encoder(const int32_t* ids, uint32_t count) {
  check_cancelled();
  stack_.set_input(encoder_->run(ids, count, 0));
}

void RefSession::read_logits(float* out) { std::memcpy(out, logits_.data(), logits_.size() * 4); }

int32_t RefSession::choose(const SampleRule& rule) { return ref::sample(rule, logits_, ids(), position()); }

nlohmann::json RefSession::stats() const {
  return {{"tokens_fed", tokens_fed_}, {"tokens_generated", tokens_generated_}, {"submits", 0}, {"dispatches", 0},
          {"bytes_read_back", 0}, {"bytes_uploaded", 0}, {"device_bytes", 0}, {"peak_device_bytes", 0},
          {"bytes_per_token", 0}, {"kernels", nlohmann::json::array()}, {"routing", routing_json()}};
}

}  // namespace vkmoe::ref
