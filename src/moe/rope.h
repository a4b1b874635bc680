// Rotary position embedding (Su et al. 2021): the rule by which a model's frequencies were stretched to a longer context, read
// by arch/arch.cpp; its table is used by the device (activations.cpp) and by the CPU reference. Follows transformers'
// modeling_rope_utils.py.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace vkmoe {

class ModelFile;

struct RopeScaling {
  enum class Type {
    none,
    linear,   // every frequency over `factor`
    dynamic,  // as none within original_context; a longer context stretches theta (bloc97's and emozilla's NTK)
    yarn,     // slow pairs over `factor`, fast ones as they are, a ramp between (Peng et al. 2023)
    llama3,   // likewise, by wavelength (Llama 3.1)
    longrope,  // every pair over its own factor, of two sets: within original_context, and longer (Ding et al. 2024)
  };
  Type type = Type::none;
  double factor = 1;
  double original_context = 0;     // tokens of the context before stretching
  double attention_factor = 1;     // of cosines and sines, so that a query-key product is scaled by its square
  double mscale_all_dim = 0;       // yarn, DeepSeek: weight of log(factor) in the softmax scale; 0: none
  double beta_fast = 32, beta_slow = 1;  // yarn: turns within original_context where the ramp begins and ends
  bool truncate = true;            // yarn: the ramp begins and ends at whole pairs
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3: original_context over the wavelengths of the ramp's ends
  std::vector<float> short_factors, long_factors;  // longrope
  double long_attention_factor = 1;                // longrope: instead of attention_factor in a longer context
  std::vector<float> divisors;     // of each pair's frequency besides (GGUF's rope_freqs.weight); empty: none

  bool operator==(const RopeScaling&) const = default;
};

// From config.json (rope_parameters, or the older rope_scaling) or from GGUF metadata with the architecture's prefix.
// context_tokens: the model's own. Fails with VKMOE_ERROR_UNSUPPORTED (key and value) on other rules.
RopeScaling read_rope_scaling(const ModelFile& file, const std::string& gguf_prefix, uint32_t context_tokens);

// Fails with VKMOE_ERROR_BAD_FILE (key or tensor) unless lists of factors have a value for each of the rotary_dim / 2 pairs.
void check_rope_factors(const ModelFile& file, const RopeScaling& scaling, uint32_t rotary_dim);

// Radians by which each of the rotary_dim / 2 pairs turns per token, for sessions of up to context_tokens. The lists of
// factors must have passed check_rope_factors().
std::vector<double> rope_frequencies(const RopeScaling& scaling, double theta, uint32_t rotary_dim, uint32_t context_tokens);

// Of cosines and sines, in sessions of up to context_tokens.
double rope_attention_factor(const RopeScaling& scaling, uint32_t context_tokens);

// 1 + 0.1 weight log(factor): YaRN's temperature (its equation 22), weighted as DeepSeek does.
double yarn_mscale(double factor, double weight);

}  // namespace vkmoe
