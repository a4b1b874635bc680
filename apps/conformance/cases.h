// The cases by kernel: each file of cases/ adds those of one kernel. A case is one variant of a kernel (weight format,
// workgroup shape, rule) at one shape.
#pragma once
#include "check.h"
#include "moe/ref/ref.h"

namespace vkmoe::conformance {

struct Case {
  std::string kernel, variant, shape;
  bool quick;  // part of the quick set
  std::function<void(Check&)> run;
  std::string name() const { return kernel + "/" + variant + "/" + shape; }
};
using Cases = std::vector<Case>;

void add_add_positions(Cases& cases);
void add_attention(Cases& cases);
void add_begin_step(Cases& cases);
void add_capacity(Cases& cases);
void add_combine(Cases& cases);
void add_embed(Cases& cases);
void add_gate(Cases& cases);
void add_latent_cache(Cases& cases);
void add_matmul(Cases& cases);
void add_matmul_rounded(Cases& cases);
void add_moe_layer(Cases& cases);
void add_norms(Cases& cases);
void add_round_rows(Cases& cases);
void add_rope_cache(Cases& cases);
void add_roofline(Cases& cases);
void add_router(Cases& cases);
void add_sample(Cases& cases);
void add_sort(Cases& cases);

Cases all_cases();

// ---- what cases share ----

// Workgroup sizes of the kernels whose invocations share a row; the quick set takes those that Tuning chooses.
struct Lanes {
  uint32_t lanes;
  bool quick;
};
const std::vector<Lanes>& all_lanes();
// The device's tuning with these lanes; throws Unsupported where the device has no such workgroups.
Tuning with_lanes(const Check& check, uint32_t lanes);
// Unsupported where so many invocations cannot hand each other values, as kernels with TEXELS do.
void need_shuffles(const Check& check, uint32_t lanes);

// With buffers for what sort_by_expert() writes; not those for ids and weights.
Routing routing_for(Check& check, uint32_t n_tokens, uint32_t top_k, uint32_t n_experts);

// Rules of routing, as the families have them; n_experts and top_k are the shape's.
struct NamedRule {
  const char* name;
  GateRule rule;
};
const std::vector<NamedRule>& gate_rules();

// (n_experts), by steps well above rounding, so that they decide where they are added; no two pairs of them have the same
// sum, which a group's score would be. Empty where the rule has none.
std::vector<float> stepped_bias(Check& check, const GateRule& rule);

// What one token's logits must choose: ids, (top_k), and weights within the bound of the rule's arithmetic.
void check_token(Check& check, const GateRule& rule, const std::vector<float>& logits, const std::vector<float>& bias,
                 const ref::TokenInfo& token, const uint32_t* ids, const float* weights);

// Experts behind a rule's that every token uses (Routing), and what their ids and weights must be; logit: of what they weigh.
struct SharedUse {
  uint32_t n = 0;
  bool gated = false;
};
void check_shared(Check& check, const GateRule& rule, const SharedUse& shared, float logit, const uint32_t* ids, const float* weights);

// A part of a cache of keys and values (KvCache::half or not) that holds values, what it holds, values as it keeps them, and
// how far that is from them at most.
BufferView cached(Check& check, const std::vector<float>& values, const std::string& name, bool half);
std::vector<float> read_cached(Check& check, const BufferView& view, size_t n, bool half);
std::vector<float> as_cached(std::vector<float> values, bool half);
inline double cached_error(double value, bool half) { return half ? std::max(std::abs(value) * 0x1p-11, 0x1p-25) : 0; }

std::vector<float> random_values(Check& check, size_t n, double magnitude = 1);

}  // namespace vkmoe::conformance
