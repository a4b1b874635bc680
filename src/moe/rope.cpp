#include "moe/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

using Type = RopeScaling::Type;

double positive(const Keys& keys, const std::string& key) {
  double value = keys.number(key);
  if (!(value > 0)) keys.refuse(key, "expected a number above 0");
  return value;
}

double positive_or(const Keys& keys, const std::string& key, double fallback) {
  return keys.has(key) ? positive(keys, key) : fallback;
}

// The values of a tensor that may be missing.
std::vector<float> factors(const ModelFile& file, const std::string& name) {
  const Tensor* tensor = file.find(name);
  if (!tensor) return {};
  if (tensor->format->block_elems != 1 || tensor->elems() > 1024)
    fail(VKMOE_ERROR_UNSUPPORTED, file.path, ": tensor ", name, ": expected at most 1024 values as F32, found ",
         tensor->elems(), " as ", tensor->format->name);
  std::vector<float> values(tensor->elems());
  decode_row(*tensor->format, tensor->data, 0, values.size(), values.data());
  return values;
}

RopeScaling read_gguf(const ModelFile& file, const std::string& prefix, uint32_t context_tokens) {
  Keys keys(file, prefix + "rope.");
  RopeScaling s;
  std::string type = keys.text_or("scaling.type", "none");
  if (type == "linear") s.type = Type::linear;
  else if (type == "yarn") s.type = Type::yarn;
  else if (type != "none") keys.refuse("scaling.type", "expected none, linear or yarn");
  if (s.type == Type::none) {
    s.factor = positive_or(keys, "scaling.factor", positive_or(keys, "scale_linear", 1));  // files of 2023 name no type
    if (s.factor != 1) s.type = Type::linear;
  } else {
    s.factor = positive(keys, "scaling.factor");
  }
  s.original_context = positive_or(keys, "scaling.original_context_length", context_tokens);
  if (s.type == Type::yarn) {
    s.beta_fast = positive_or(keys, "scaling.yarn_beta_fast", s.beta_fast);
    s.beta_slow = positive_or(keys, "scaling.yarn_beta_slow", s.beta_slow);
    if (keys.number_or("scaling.yarn_ext_factor", 1) != 1) keys.refuse("scaling.yarn_ext_factor", "expected 1");
    // A tenth of mscale_all_dim. The file keeps no mscale; in DeepSeek's models the two are equal and cancel here.
    s.mscale_all_dim = keys.number_or("scaling.yarn_log_multiplier", 0) / 0.1;
    double inferred = s.mscale_all_dim != 0 ? 1 : yarn_mscale(s.factor, 1);
    s.attention_factor = positive_or(keys, "scaling.yarn_attn_factor", inferred);
  }
  s.attention_factor *= positive_or(keys, "scaling.attn_factor", 1);
  s.divisors = factors(file, "rope_freqs.weight");
  s.short_factors = factors(file, "rope_factors_short.weight");
  s.long_factors = factors(file, "rope_factors_long.weight");
  if (!s.short_factors.empty() || !s.long_factors.empty()) {
    if (s.type != Type::none) keys.refuse("scaling.type", "expected none beside rope_factors_long.weight");
    s.type = Type::longrope;
    s.long_attention_factor = s.attention_factor;
  }
  return s;
}

RopeScaling read_hugging_face(const ModelFile& file, uint32_t context_tokens) {
  const char* name = Keys(file).has("rope_scaling") ? "rope_scaling" : "rope_parameters";
  RopeScaling s;
  s.original_context = context_tokens;
  if (!Keys(file).has(name)) return s;
  if (!file.metadata[name].is_object()) Keys(file).refuse(name, "expected an object");
  Keys keys(file, std::string(name) + ".");
  for (const auto& item : file.metadata[name].items())
    if (item.value().is_object()) keys.refuse(item.key(), "expected one rule for all layers");
  std::string key = keys.has("rope_type") ? "rope_type" : "type", type = keys.text_or(key, "default");
  if (type == "default") return s;
  if (type == "linear") s.type = Type::linear;
  else if (type == "dynamic") s.type = Type::dynamic;
  else if (type == "yarn") s.type = Type::yarn;
  else if (type == "llama3") s.type = Type::llama3;
  else if (type == "longrope" || type == "su") s.type = Type::longrope;
  else keys.refuse(key, "expected default, linear, dynamic, yarn, llama3 or longrope");
  if (s.type == Type::yarn || s.type == Type::llama3 || s.type == Type::longrope) {
    bool outside = Keys(file).has("original_max_position_embeddings");  // the older place, which comes first
    const Keys& place = outside ? Keys(file) : keys;
    s.original_context = positive_or(place, "original_max_position_embeddings", context_tokens);
    if (s.original_context > 1u << 30) place.refuse("original_max_position_embeddings", "expected at most 2^30");
  }
  s.factor = (s.type == Type::yarn || s.type == Type::longrope) && !keys.has("factor") ? context_tokens / s.original_context : positive(keys, "factor");
  if (s.type == Type::yarn) {
    s.beta_fast = keys.number_or("beta_fast", 0);
    s.beta_slow = keys.number_or("beta_slow", 0);
    if (s.beta_fast == 0) s.beta_fast = 32;  // 0 means the paper's value, too
    if (s.beta_slow == 0) s.beta_slow = 1;
    if (s.beta_fast < 0) keys.refuse("beta_fast", "expected a number above 0");
    if (s.beta_slow < 0) keys.refuse("beta_slow", "expected a number above 0");
    s.truncate = keys.flag_or("truncate", true);
    double mscale = keys.number_or("mscale", 0);
    s.mscale_all_dim = keys.number_or("mscale_all_dim", 0);
    double inferred = mscale != 0 && s.mscale_all_dim != 0
                          ? yarn_mscale(s.factor, mscale) / yarn_mscale(s.factor, s.mscale_all_dim)
                          : yarn_mscale(s.factor, 1);
    s.attention_factor = positive_or(keys, "attention_factor", inferred);
  }
  if (s.type == Type::longrope) {
    s.short_factors = keys.numbers("short_factor");
    s.long_factors = keys.numbers("long_factor");
    double inferred = s.factor <= 1 ? 1 : std::sqrt(1 + std::log(s.factor) / std::log(s.original_context));
    inferred = positive_or(keys, "attention_factor", inferred);
    s.attention_factor = positive_or(keys, "short_mscale", inferred);  // Phi-3.5-MoE's own
    s.long_attention_factor = positive_or(keys, "long_mscale", inferred);
  }
  if (s.type == Type::llama3) {
    s.low_freq_factor = positive(keys, "low_freq_factor");
    s.high_freq_factor = positive(keys, "high_freq_factor");
  }
  return s;
}

// Share of the stretched frequency in each pair: 0 for pairs that turn beta_fast times and more within the original context.
std::vector<double> yarn_ramp(const RopeScaling& s, double theta, uint32_t rotary_dim) {
  auto pair_of = [&](double turns) {
    return rotary_dim * std::log(s.original_context / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  double low = pair_of(s.beta_fast), high = pair_of(s.beta_slow);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, rotary_dim - 1.0);
  if (low == high) high += 0.001;  // a step
  std::vector<double> ramp;
  for (uint32_t i = 0; i < rotary_dim / 2; ++i) ramp.push_back(std::clamp((i - low) / (high - low), 0.0, 1.0));
  return ramp;
}

// Share of the unstretched frequency for a wavelength in tokens: 1 for short ones. Llama 4 has a step instead of a ramp.
double llama3_share(const RopeScaling& s, double wavelength) {
  if (s.high_freq_factor <= s.low_freq_factor) return s.original_context / wavelength >= s.low_freq_factor;
  double share = (s.original_context / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return std::clamp(share, 0.0, 1.0);
}

}  // namespace

double yarn_mscale(double factor, double weight) { return factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1; }

RopeScaling read_rope_scaling(const ModelFile& file, const std::string& gguf_prefix, uint32_t context_tokens) {
  return file.kind == ModelFile::Kind::gguf ? read_gguf(file, gguf_prefix, context_tokens)
                                            : read_hugging_face(file, context_tokens);
}

void check_rope_factors(const ModelFile& file, const RopeScaling& s, uint32_t rotary_dim) {
  bool gguf = file.kind == ModelFile::Kind::gguf;
  auto check = [&](const char* name, const std::vector<float>& values) {
    if (values.size() != rotary_dim / 2)
      fail(VKMOE_ERROR_BAD_FILE, file.path, ": ", name, ": expected ", rotary_dim / 2, " values, found ", values.size());
  };
  if (s.type == Type::longrope) {
    check(gguf ? "tensor rope_factors_short.weight" : "key short_factor of LongRoPE", s.short_factors);
    check(gguf ? "tensor rope_factors_long.weight" : "key long_factor of LongRoPE", s.long_factors);
  }
  if (!s.divisors.empty()) check("tensor rope_freqs.weight", s.divisors);
}

double rope_attention_factor(const RopeScaling& s, uint32_t context_tokens) {
  return s.type == Type::longrope && context_tokens > s.original_context ? s.long_attention_factor : s.attention_factor;
}

std::vector<double> rope_frequencies(const RopeScaling& s, double theta, uint32_t rotary_dim, uint32_t context_tokens) {
  uint32_t pairs = rotary_dim / 2;
  if (s.type == Type::dynamic && context_tokens > s.original_context && rotary_dim > 2)
    theta *= std::pow(s.factor * context_tokens / s.original_context - (s.factor - 1), rotary_dim / (rotary_dim - 2.0));
  const std::vector<float>& own = context_tokens > s.original_context ? s.long_factors : s.short_factors;
  std::vector<double> frequencies, ramp;
  if (s.type == Type::yarn) ramp = yarn_ramp(s, theta, rotary_dim);
  for (uint32_t i = 0; i < pairs; ++i) {
    double f = std::pow(theta, -2.0 * i / rotary_dim);
    double kept = 1;  // share of f as it is; the rest is stretched
    if (s.type == Type::linear) kept = 0;
    if (s.type == Type::yarn) kept = 1 - ramp[i];
    if (s.type == Type::llama3) kept = llama3_share(s, 2 * std::numbers::pi / f);
    f = kept * f + (1 - kept) * f / s.factor;
    if (s.type == Type::longrope) f /= own[i];
    if (!s.divisors.empty()) f /= s.divisors[i];
    frequencies.push_back(f);
  }
  return frequencies;
}

}  // namespace vkmoe
