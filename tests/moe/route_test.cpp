// The routing reference against answers by hand; vkmoe-conformance holds the device to the reference.
#include "moe/arch/arch.h"
#include "moe/support.h"

using namespace vkmoe;

TEST_CASE("experts chosen by logit, weighted by its sigmoid: answers by hand") {
  GateRule rule = {3, 2, SCORE_LOGIT, 0, 0, 0, 0, WEIGHT_SIGMOID, 0, 0, -INFINITY, 1};
  ref::Choice choice = ref::gate(rule, {40, -1, 41}, {});
  CHECK(choice.experts == std::vector<uint32_t>{2, 0});
  CHECK(choice.weights == std::vector<float>{1, 1});
}

TEST_CASE("sparsemixer: answers by hand") {
  // By hand: 2 and 1.99 are near (within 2% of 2), 1.9 is not; then 1.99 is alone. A tie shares the first weight.
  GateRule rule = {4, 2, SCORE_LOGIT, 0, 0, 0, 0, WEIGHT_SPARSEMIXER, 0, 0, -INFINITY, 1};
  rule.near = 0.02f;
  ref::Choice choice = ref::gate(rule, {1.9f, 2.0f, 1.99f, -5}, {});
  CHECK(choice.experts == std::vector<uint32_t>{1, 2});
  CHECK(choice.weights[0] == doctest::Approx(1 / (1 + std::exp(-0.01))));
  CHECK(choice.weights[1] == doctest::Approx(1));
  choice = ref::gate(rule, {-1, 3, 3, 2}, {});
  CHECK(choice.experts == std::vector<uint32_t>{1, 2});
  CHECK(choice.weights[0] == doctest::Approx(0.5));
  CHECK(choice.weights[1] == doctest::Approx(1));
}

TEST_CASE("capacity: known answers of six tokens") {
  // Probabilities of the favourite rise from token 0 to 5; all want expert 0 first and expert 1 second.
  std::vector<std::vector<float>> logits;
  for (uint32_t t = 0; t < 6; ++t) logits.push_back({2 + float(t) / 4, 1, 0});
  GateRule rule = softmax_top_k(3, 2, false);
  rule.renormalize = RENORMALIZE_KEPT;
  rule.capacity = 2;
  auto experts = [&](uint32_t drop) {
    rule.drop = drop;
    std::vector<uint32_t> first;
    for (const ref::Choice& choice : ref::route(rule, logits, {})) first.push_back(choice.experts[0]);
    return first;
  };
  CHECK(experts(DROP_LATER) == std::vector<uint32_t>{0, 0, NO_EXPERT, NO_EXPERT, NO_EXPERT, NO_EXPERT});
  CHECK(experts(DROP_UNLIKELY) == std::vector<uint32_t>{NO_EXPERT, NO_EXPERT, NO_EXPERT, NO_EXPERT, 0, 0});
  logits = {{1, 0, -9}, {0, 1, -9}, {0, 1, -9}};  // expert 1: both first choices come before the second choice of token 0
  rule.drop = DROP_LATER;
  std::vector<ref::Choice> all = ref::route(rule, logits, {});
  CHECK(all[0].experts == std::vector<uint32_t>{0, NO_EXPERT});
  CHECK(all[0].weights == std::vector<float>{1, 0});  // of the one that was kept
  CHECK(all[1].experts == std::vector<uint32_t>{1, 0});
  CHECK(all[2].experts == std::vector<uint32_t>{1, NO_EXPERT});
}
