// The whole model, token by token. Follows transformers' modelling files of the families in arch/.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "moe/ref/ref.h"
#include "moe/weights.h"

namespace vkmoe::ref {
namespace {

void add(std::vector<float>& x, float scale, const std::vector<float>& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += scale * y[i];
}

// One value of a gated feed-forward layer's activated product (shared/matmul.h).
float gated(const Activation& activation, float gate, float up) {
  if (activation.kind == ACTIVATION_CLAMPED_SILU) {
    gate = std::min(gate, activation.limit);
    up = std::clamp(up, -activation.limit, activation.limit);
    return gate / (1 + std::exp(-activation.alpha * gate)) * (up + 1);
  }
  if (activation.kind == ACTIVATION_GELU)
    return float(0.5 * gate * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (gate + 0.044715 * std::pow(double(gate), 3)))) * up);
  return gate / (1 + std::exp(-gate)) * up;
}

// down(act(gate x) * up x) of one expert (Shazeer 2020).
std::vector<float> feed_forward(const Activation& activation, const Matrix& gate, const Matrix& up, const Matrix& down,
                                uint32_t expert, const std::vector<float>& x) {
  std::vector<float> hidden = matvec(gate, expert, x.data()), linear = matvec(up, expert, x.data());
  for (size_t i = 0; i < hidden.size(); ++i) hidden[i] = gated(activation, hidden[i], linear[i]);
  return matvec(down, expert, hidden.data());
}

}  // namespace

RefSession::RefSession(std::shared_ptr<const ModelSpec> spec, uint32_t capacity_tokens)
    : Session(spec->hyper.vocab, capacity_tokens), spec_(spec), keys_(spec->hyper.n_layers), values_(spec->hyper.n_layers) {
  const Hyper& h = spec->hyper;
  frequencies_ = rope_frequencies(h.rope_scaling, h.rope_theta, h.rotary_dim, capacity_tokens);
  rope_factor_ = rope_attention_factor(h.rope_scaling, capacity_tokens);
}

std::vector<float> RefSession::norm(const NormSpec& norm, const std::vector<float>& x) const {
  const Hyper& h = spec_->hyper;
  if (h.norm == NORM_RMS) return rmsnorm(x.data(), vector_values(*norm.weight), h.rms_epsilon);
  std::vector<float> bias;
  if (norm.bias) bias = vector_values(*norm.bias);
  return layernorm(x.data(), vector_values(*norm.weight), bias, h.rms_epsilon);
}

std::vector<float> RefSession::attention(const LayerSpec& layer, uint32_t index, const std::vector<float>& x,
                                         uint32_t position) {
  const Hyper& h = spec_->hyper;
  uint32_t d = h.head_dim, stride = h.n_kv_heads * d, group = h.n_heads / h.n_kv_heads;
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
  const KeySpan& span = options.span;
  uint32_t first = span.window && position + 1 > span.window ? position + 1 - span.window : 0;
  if (span.chunk) first = std::max(first, position / span.chunk * span.chunk);
  std::vector<float> sinks;
  if (layer.sinks) sinks = vector_values(*layer.sinks);
  std::vector<float> attended;
  for (uint32_t head = 0; head < h.n_heads; ++head) {
    size_t from = size_t(first) * stride + head / group * d;
    std::vector<float> y = attend(&q[head * d], {&keys_[index][from], d, stride}, {&values_[index][from], d, stride},
                                  position + 1 - first, h.attention_scale, h.attention_softcap,
                                  sinks.empty() ? nullptr : &sinks[head]);
    attended.insert(attended.end(), y.begin(), y.end());
  }
  std::vector<float> y = matvec(layer.o, 0, attended.data());
  return h.post_norms ? norm(layer.attention_post_norm, y) : y;
}

// Every head's keys and values are made from the latent and kept, as in transformers' expand_kv: nothing is absorbed here.
std::vector<float> RefSession::latent_attention(const LayerSpec& layer, uint32_t index, const std::vector<float>& x,
                                                uint32_t position) {
  const Hyper& h = spec_->hyper;
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

std::vector<float> RefSession::experts(const LayerSpec& layer, uint32_t index, const std::vector<float>& x) {
  const Hyper& h = spec_->hyper;
  std::vector<float> normed = norm(layer.ffn_norm, x);
  Choice choice{{0}, {1.0f}};  // a dense layer is one expert of weight 1
  if (layer.router) {
    std::vector<float> bias;
    if (layer.router_bias) bias = vector_values(*layer.router_bias);
    choice = gate(h.gate, matvec(layer.router, 0, normed.data()), bias);
  }
  std::vector<float> sum(h.hidden, 0.0f);
  for (size_t j = 0; j < choice.experts.size(); ++j) {
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
  choices_[index] = choice;
  return h.post_norms ? norm(layer.ffn_post_norm, sum) : sum;
}

void RefSession::forward_token(int32_t id, uint32_t position) {
  const Hyper& h = spec_->hyper;
  std::vector<float> x(h.hidden);
  const Format* format;
  std::vector<uint8_t> scratch;
  const uint8_t* row = spec_->embedding.row(0, uint32_t(id), &format, scratch);
  decode_row(*format, row, 0, h.hidden, x.data());
  for (float& v : x) v *= h.embedding_scale;
  choices_.assign(h.n_layers, {});
  for (uint32_t layer = 0; layer < h.n_layers; ++layer) {
    add(x, h.residual_scale, h.latent.kv_rank ? latent_attention(spec_->layers[layer], layer, x, position)
                                              : attention(spec_->layers[layer], layer, x, position));
    add(x, h.residual_scale, experts(spec_->layers[layer], layer, x));
  }
  std::vector<float> normed = norm(spec_->final_norm, x);
  logits_ = matvec(spec_->head, 0, normed.data());
  for (float& v : logits_) v *= h.logit_scale;
}

void RefSession::forward(const int32_t* ids, uint32_t count, uint32_t position, float* all_logits) {
  for (uint32_t i = 0; i < count; ++i) {
    check_cancelled();
    forward_token(ids[i], position + i);
    if (all_logits) std::memcpy(all_logits + size_t(i) * logits_.size(), logits_.data(), logits_.size() * 4);
  }
}

void RefSession::read_logits(float* out) { std::memcpy(out, logits_.data(), logits_.size() * 4); }

int32_t RefSession::choose(const SampleRule& rule) { return ref::sample(rule, logits_, ids(), position()); }

nlohmann::json RefSession::stats() const {
  return {{"tokens_fed", tokens_fed_}, {"tokens_generated", tokens_generated_}, {"submits", 0}, {"dispatches", 0},
          {"bytes_read_back", 0}, {"bytes_uploaded", 0}, {"device_bytes", 0}, {"peak_device_bytes", 0},
          {"bytes_per_token", 0}, {"kernels", nlohmann::json::array()}};
}

}  // namespace vkmoe::ref
