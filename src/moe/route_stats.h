// What a router does to its experts over a batch: load, drops and the losses that papers train it with. From routing that
// was read back or computed by the reference; nothing here runs on the device.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

namespace vkmoe {

struct RouteStats {
  std::vector<double> load;        // (n_experts) share of the kept assignments; sums to 1 if there are any
  std::vector<double> importance;  // (n_experts) sum of the weights of an expert over the batch (Shazeer et al. 2017, eq. 6)
  double fraction_dropped = 0;     // of all assignments
  double importance_cv2 = 0;       // squared coefficient of variation of the importance: the loss of Shazeer et al. 2017, eq. 7
  double load_balance_loss = 0;    // n_experts * sum_e f_e P_e: f_e the share of tokens whose first choice is e, P_e the mean
                                   // probability of e (Fedus et al. 2021, eq. 4-6); 1 when balanced
  double z_loss = 0;               // mean of (log sum exp of the logits)^2 (Zoph et al. 2022, eq. 5)
  double router_entropy = 0;       // mean entropy of a token's softmax, in nats
  double load_entropy = 0;         // entropy of the load, in nats; log(n_experts) when balanced
};

// Adds up any number of passes.
//
// logits (n_tokens, n_experts), row by row. chosen (n_tokens, top_k): experts as the gate ranked them, before drops. ids
// and weights (n_tokens, top_k): after drops, NO_EXPERT and 0 where dropped (an assignment of weight 0 counts as dropped).
// Fails with VKMOE_ERROR_INVALID_ARGUMENT where the sizes do not fit together or an id is out of range.
class RouteSums {
 public:
  RouteSums(uint32_t n_experts, uint32_t top_k);
  void add(const std::vector<float>& logits, const std::vector<uint32_t>& chosen, const std::vector<uint32_t>& ids,
           const std::vector<float>& weights);
  RouteStats stats() const;
  nlohmann::json json() const;  // the names of RouteStats, and "tokens"

 private:
  void check_sizes(size_t logits, const std::vector<uint32_t>& chosen, const std::vector<uint32_t>& ids, size_t weights) const;

  uint32_t n_experts_, top_k_;
  uint64_t tokens_ = 0;
  std::vector<uint64_t> kept_, first_choice_;     // (n_experts) assignments
  std::vector<double> importance_, probability_;  // (n_experts)
  double z_ = 0, entropy_ = 0;
};

}  // namespace vkmoe
