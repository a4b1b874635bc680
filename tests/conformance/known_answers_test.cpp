// Reference and shaders against tests/data/known-answers.json, which tools/make_known_answers.py computed in float64 from the
// papers: so that reference and shader cannot be wrong together.
#include <map>

#include "moe/route_stats.h"
#include "moe/support.h"

using namespace vkmoe;
using namespace vkmoe::test;
using Json = nlohmann::json;

namespace {

const Json& answers() {
  static const Json all = Json::parse(read_file(data("known-answers.json")));
  return all;
}

template <class T>
std::vector<T> flat(const Json& rows) {
  std::vector<T> all;
  for (const auto& row : rows)
    for (const auto& v : row) all.push_back(v.get<T>());
  return all;
}

GateRule rule_of(const Json& r) {
  const std::map<std::string, uint32_t> names = {
      {"softmax", SCORE_SOFTMAX}, {"sigmoid", SCORE_SIGMOID}, {"sqrt_softplus", SCORE_SQRT_SOFTPLUS}, {"logit", SCORE_LOGIT},
      {"max", GROUP_MAX}, {"sum2", GROUP_SUM2}, {"all", RENORMALIZE_ALL}, {"kept", RENORMALIZE_KEPT}, {"later", DROP_LATER},
      {"unlikely", DROP_UNLIKELY}, {"unchosen", DROP_UNCHOSEN}, {"tree", CHOOSE_TREE}, {"table", CHOOSE_TABLE}};
  auto named = [&](const char* key) { return r.contains(key) ? names.at(r.at(key)) : 0u; };
  auto number = [&](const char* key) { return r.value(key, 0u); };
  std::string weight = r.value("weight", "score");
  GateRule rule = {number("n_experts"), number("top_k"), named("score"), 0, number("n_groups"), number("top_groups"), named("group_score"),
                   uint32_t(weight == "softmax" ? WEIGHT_SOFTMAX : weight == "sparsemixer" ? WEIGHT_SPARSEMIXER : WEIGHT_SCORE), named("renormalize"),
                   r.value("denominator_add", 0.0f), r.value("denominator_min", -INFINITY), r.value("scale", 1.0f)};
  rule.drop = named("drop");
  rule.capacity = number("capacity");
  rule.norm_power = r.value("norm_power", 0.0f);
  rule.near = r.value("near", 0.0f);
  rule.choose = named("choose");
  rule.noise = number("noise");
  rule.random_second = number("random_second");
  rule.seed_low = number("seed_low");
  rule.seed_high = number("seed_high");
  return rule;
}

template <class T>
BufferView upload(const std::vector<T>& values) {
  Buffer buffer = device()->create_buffer(std::max<size_t>(values.size(), 4) * 4, MemoryUse::device, "known answers");
  if (!values.empty()) device()->upload(buffer, 0, values.data(), values.size() * 4);
  return buffer;
}
BufferView space(size_t words) { return device()->create_buffer(std::max<size_t>(words, 4) * 4, MemoryUse::device, "known answers"); }
template <class T>
std::vector<T> download(const BufferView& view, size_t n) {
  std::vector<T> values(n);
  device()->read_back(view.buffer, 0, values.data(), n * 4);
  return values;
}

void run(const std::function<void(Recorder&)>& body) {
  Tuning tuning = Tuning::of(device()->caps());
  Recording recording(*device(), "known answers");
  Recorder recorder{*device(), recording, tuning};
  body(recorder);
  recording.end();
  device()->wait(device()->submit({&recording}));
}

struct Routed {
  std::vector<uint32_t> chosen, ids;
  std::vector<float> weights;
};

Routed device_route(const Json& c, GateRule rule, const std::vector<float>& bias) {
  Routing routing;
  routing.n_tokens = uint32_t(c.at("logits").size());
  routing.top_k = rule.top_k;
  size_t n = size_t(routing.n_tokens) * rule.top_k;
  routing.chosen = space(n);
  routing.scores = space(n);
  routing.ids = space(n);
  routing.weights = space(n);
  if (rule.choose == CHOOSE_TABLE) {
    std::vector<uint32_t> tokens;
    for (uint32_t t = 0; t < routing.n_tokens; ++t) tokens.push_back(t);
    routing.tokens = upload(tokens);
    routing.table = upload(flat<uint32_t>(c.at("table")));
  }
  std::vector<float> logits = flat<float>(c.at("logits"));
  Rows rows = {upload(logits), uint32_t(logits.size() / routing.n_tokens)};
  BufferView side = upload(rule.noise ? flat<float>(c.at("noise")) : bias);
  rule.has_bias = !bias.empty();
  if (rule.drop == DROP_NONE) {
    run([&](Recorder& r) { choose_experts(r, rule, rows, side, routing); });
    routing.chosen = routing.ids;
  } else {
    GateRule scores = rule;
    scores.renormalize = RENORMALIZE_NONE;
    scores.scale = 1;
    Routing all = routing;
    all.ids = routing.chosen;
    all.weights = routing.scores;
    run([&](Recorder& r) {
      choose_experts(r, scores, rows, side, all);
      limit_to_capacity(r, rule, routing);
    });
  }
  return {download<uint32_t>(routing.chosen, n), download<uint32_t>(routing.ids, n), download<float>(routing.weights, n)};
}

Routed reference_route(const Json& c, GateRule rule, const std::vector<float>& bias) {
  rule.has_bias = !bias.empty();
  std::vector<std::vector<float>> logits = c.at("logits");
  std::vector<ref::Choice> choices;
  if (rule.drop != DROP_NONE) {
    choices = ref::route(rule, logits, bias);
  } else {
    for (uint32_t t = 0; t < logits.size(); ++t) {
      ref::TokenInfo token;
      token.number = t;
      if (rule.noise) token.noise = c.at("noise")[t].get<std::vector<float>>();
      if (rule.choose == CHOOSE_TABLE) token.table = c.at("table")[t].get<std::vector<uint32_t>>();
      choices.push_back(ref::gate(rule, logits[t], bias, token));
    }
  }
  Routed routed;
  for (const ref::Choice& choice : choices) {
    routed.ids.insert(routed.ids.end(), choice.experts.begin(), choice.experts.end());
    routed.weights.insert(routed.weights.end(), choice.weights.begin(), choice.weights.end());
  }
  return routed;
}

// Inputs are below 16 in size: exp is good to 35 units in the last place (Vulkan), which some sums and quotients follow.
void check_close(const std::vector<float>& got, const std::vector<double>& want, double relative = 200 * 0x1p-23) {
  REQUIRE(got.size() == want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(std::abs(got[i] - want[i]) <= relative * std::max(std::abs(want[i]), 1e-3));
  }
}

}  // namespace

TEST_CASE("known answers: every routing rule, by reference and device, and its statistics") {
  for (const Json& c : answers().at("route")) {
    CAPTURE(c.at("name").get<std::string>());
    GateRule rule = rule_of(c.at("rule"));
    std::vector<float> bias = c.contains("bias") ? c.at("bias").get<std::vector<float>>() : std::vector<float>();
    std::vector<uint32_t> ids = flat<uint32_t>(c.at("ids")), chosen = flat<uint32_t>(c.at("chosen"));
    std::vector<double> weights = flat<double>(c.at("weights"));
    Routed reference = reference_route(c, rule, bias), got = device_route(c, rule, bias);
    CHECK(reference.ids == ids);
    CHECK(got.ids == ids);
    CHECK(got.chosen == chosen);
    check_close(reference.weights, weights);
    check_close(got.weights, weights);

    if (rule.choose == CHOOSE_TREE) continue;  // logits of groups have no place in the statistics
    RouteStats stats = route_stats(rule.n_experts, rule.top_k, flat<float>(c.at("logits")), got.chosen, got.ids, got.weights);
    const Json& want = c.at("stats");
    check_close({stats.load.begin(), stats.load.end()}, want.at("load"));
    check_close({stats.importance.begin(), stats.importance.end()}, want.at("importance"));
    check_close({float(stats.fraction_dropped), float(stats.importance_cv2), float(stats.load_balance_loss), float(stats.z_loss),
                 float(stats.router_entropy), float(stats.load_entropy)},
                {want.at("fraction_dropped"), want.at("importance_cv2"), want.at("load_balance_loss"), want.at("z_loss"),
                 want.at("router_entropy"), want.at("load_entropy")});
  }
  check_no_validation_messages();
}

TEST_CASE("known answers: norms, rotation, attention and random numbers") {
  const Json& all = answers().at("operations");
  const Json& norm = all.at("norm");
  std::vector<float> x = flat<float>(norm.at("x")), weight = norm.at("weight"), bias = norm.at("bias"), both = weight;
  both.insert(both.end(), bias.begin(), bias.end());
  uint32_t width = uint32_t(weight.size()), n = uint32_t(x.size() / width);
  Rows rows = {upload(x), width}, rms = {space(x.size()), width}, layer = {space(x.size()), width};
  BufferView weights = upload(both);
  run([&](Recorder& r) {
    rmsnorm(r, rows, weights, rms, n, 0, width, 1e-5f);
    layernorm(r, rows, weights, layer, n, 0, width, 1e-5f);
  });
  check_close(download<float>(rms.view, x.size()), flat<double>(norm.at("rms")));
  check_close(download<float>(layer.view, x.size()), flat<double>(norm.at("layer")));
  for (uint32_t t = 0; t < n; ++t) {
    check_close(ref::rmsnorm(&x[t * width], weight, 1e-5f), norm.at("rms")[t]);
    check_close(ref::layernorm(&x[t * width], weight, bias, 1e-5f), norm.at("layer")[t]);
  }

  const Json& attention = all.at("attention");
  std::vector<float> query = attention.at("query"), keys = flat<float>(attention.at("keys")), values = flat<float>(attention.at("values"));
  for (const auto& [softcap, want] : attention.at("by_softcap").items())
    check_close(ref::attend(query.data(), {keys.data(), 8, 8}, {values.data(), 8, 8}, 5, attention.at("scale"), std::stof(softcap)), want);

  std::array<uint32_t, 4> counter = all.at("philox").at("counter"), words = all.at("philox").at("words");
  CHECK(ref::philox(counter, all.at("philox").at("key")[0], all.at("philox").at("key")[1]) == words);
  CHECK(ref::philox(0, 0, 0) == 0x6627e8d5u);  // of the authors' Random123
  check_no_validation_messages();
}

TEST_CASE("statistics turn down what does not fit together") {
  CHECK_THROWS_WITH(route_stats(2, 1, {0, 0, 0}, {0}, {0}, {1}), doctest::Contains("3 logits"));
  CHECK_THROWS_WITH(route_stats(2, 1, {0, 0}, {2}, {0}, {1}), doctest::Contains("found 2"));
  CHECK(route_stats(2, 1, {}, {}, {}, {}).load == std::vector<double>{0, 0});
}
