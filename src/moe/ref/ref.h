// The CPU reference: the same model in plain loops, to be read beside the papers and compared with the kernels. It shares
// only the parameter structs with the shaders; outside goldens check both.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "moe/model_spec.h"
#include "moe/session.h"
#include "shared/route.h"
#include "shared/sample.h"

namespace vkmoe::ref {

struct Choice {
  std::vector<uint32_t> experts;  // (top_k), best first
  std::vector<float> weights;     // (top_k)
};
// What some rules need to know of a token besides its logits.
struct TokenInfo {
  uint32_t number = 0;          // counter of random numbers
  std::vector<float> noise;     // (n_experts) noise logits, with rule.noise
  std::vector<uint32_t> table;  // (top_k) experts of the token's id, with CHOOSE_TABLE
};
// Experts and weights of one token; bias is empty or one value per expert.
Choice gate(const GateRule& rule, std::vector<float> logits, const std::vector<float>& bias, const TokenInfo& token = {});

// A number of the standard normal distribution from 32 random bits: where its distribution function is the middle of the
// upper 24 bits' interval.
double normal(uint32_t bits);

// What gating makes of a logit: NaN is the least, everything else is clamped to GATE_MAX_LOGIT.
float finite_logit(float z);

// gate() of all tokens of a pass; assignments that find no room in their expert become NO_EXPERT with weight 0.
// logits: (tokens, n_experts).
std::vector<Choice> route(const GateRule& rule, const std::vector<std::vector<float>>& logits, const std::vector<float>& bias);

// Weights of all tokens, 0 for those that are cut off (recent: latest tokens, newest last), and the token that a fraction
// / 2^32 of their sum falls on. Greedy: the one weight is 1.
std::vector<uint64_t> sample_weights(const SampleRule& rule, const std::vector<float>& logits, const std::vector<int32_t>& recent);
int32_t draw(const std::vector<uint64_t>& weights, uint32_t fraction);

// The next token; recent: latest tokens, newest last; position: of the token to be chosen (counter of the random numbers).
int32_t sample(const SampleRule& rule, const std::vector<float>& logits, const std::vector<int32_t>& recent, uint32_t position);

// Philox4x32-10 (Salmon et al. 2011), and its first word for a counter (position, 0, 0, 0).
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint32_t key_low, uint32_t key_high);
uint32_t philox(uint32_t position, uint32_t key_low, uint32_t key_high);

// y = x / sqrt(mean(x^2) + epsilon) * weight.
std::vector<float> rmsnorm(const float* x, const std::vector<float>& weight, float epsilon);

// y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias; an empty bias is zero.
std::vector<float> layernorm(const float* x, const std::vector<float>& weight, const std::vector<float>& bias, float epsilon);

// y = W x + bias for one expert; rows are decoded as they are used.
std::vector<float> matvec(const Matrix& matrix, uint32_t expert, const float* x);

// Turns the first values of a head, two for each frequency, by the angles of a position, and scales them by a factor.
void rope(float* head, const std::vector<double>& frequencies, double factor, bool interleaved, uint32_t position);

// y = W^T x for one expert.
std::vector<float> transposed_matvec(const Matrix& matrix, uint32_t expert, const float* x);

struct HeadRows {
  const float* first;
  uint32_t dim, stride;  // values of a row, from one row to the next
};
// Softmax attention of one query over n_keys rows of keys and values. softcap bounds the scores
// (softcap * tanh(score / softcap)), 0: no bound; sink: a further logit without a value, or nullptr; bias: empty, or added
// to the scores first (n_keys).
std::vector<float> attend(const float* query, HeadRows keys, HeadRows values, uint32_t n_keys, float scale,
                          float softcap, const float* sink = nullptr, const std::vector<float>& bias = {});

using Rows = std::vector<std::vector<float>>;

// One stack of layers: a model, or the encoder or the decoder of an encoder-decoder model.
class RefStack {
 public:
  RefStack(const ModelSpec& spec, uint32_t capacity_tokens);
  // Evaluates tokens at `position`, where the cache holds all before it; returns their rows after the last norm.
  Rows run(const int32_t* ids, uint32_t count, uint32_t position);
  // A decoder's layers attend to these rows of its encoder from now on.
  void set_input(const Rows& encoded);
  std::vector<Choice> choices;  // of each layer for the last token
  std::map<uint32_t, RouteSums>* routing = nullptr;  // by layer, to which what is routed is added

 private:
  Rows embed(const int32_t* ids, uint32_t count, uint32_t position) const;
  std::vector<float> norm(const NormSpec& norm, const std::vector<float>& x) const;
  // Queries of a token; its keys and values go to the cache.
  std::vector<float> project(const LayerSpec& layer, uint32_t index, const std::vector<float>& x, uint32_t position);
  // Output of the attention of a token's queries; an encoder's see the keys of all n_tokens.
  std::vector<float> attention(const LayerSpec& layer, uint32_t index, const std::vector<float>& q, uint32_t position,
                               uint32_t n_tokens) const;
  std::vector<float> latent_attention(const LayerSpec& layer, uint32_t index, const std::vector<float>& x, uint32_t position);
  std::vector<float> cross_attention(const LayerSpec& layer, uint32_t index, const std::vector<float>& x) const;
  Rows experts(const LayerSpec& layer, uint32_t index, const Rows& x);
  std::vector<float> expert_sum(const LayerSpec& layer, const Choice& choice, const std::vector<float>& normed) const;

  const ModelSpec& spec_;
  double rope_factor_;               // of cosines and sines
  std::vector<double> frequencies_;  // of rotary pairs
  Rows keys_, values_;              // by layer: (position, heads of keys, values)
  Rows cross_keys_, cross_values_;  // by layer: (tokens of the input, n_kv_heads * head_dim)
};

class RefSession : public Session {
 public:
  RefSession(std::shared_ptr<const ModelSpec> spec, uint32_t capacity_tokens);
  nlohmann::json stats() const override;

 protected:
  void forward(const int32_t* ids, uint32_t count, uint32_t position, float* all_logits) override;
  void forward_encoder(const int32_t* ids, uint32_t count) override;
  void read_logits(float* out) override;
  int32_t choose(const SampleRule& rule) override;

 private:
  std::shared_ptr<const ModelSpec> spec_;
  RefStack stack_;
  std::unique_ptr<RefStack> encoder_;
  std::vector<float> logits_;
};

}  // namespace vkmoe::ref
