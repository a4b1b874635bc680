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

// The key cache's layout: (head_dim / 4, capacity, 4) of one head.
std::vector<float> cached_keys(const std::vector<float>& keys, uint32_t head_dim) {
  std::vector<float> cached(keys.size());
  size_t capacity = keys.size() / head_dim;
  for (size_t i = 0; i < keys.size(); ++i) cached[(i % head_dim / 4 * capacity + i / head_dim) * 4 + i % 4] = keys[i];
  return cached;
}

// One query over all keys on the device, in one workgroup or with the keys shared out; a softcap of 0 means none.
std::vector<float> device_attention(const Json& c, float softcap, bool share_keys) {
  std::vector<float> keys = flat<float>(c.at("keys")), values = flat<float>(c.at("values")), query = c.at("query");
  uint32_t d = uint32_t(query.size()), n_keys = uint32_t(keys.size() / d);
  AttentionParams p = {};
  p.n_tokens = p.n_heads = p.n_kv_heads = p.max_blocks = 1;
  p.head_dim = p.value_dim = p.out_stride = d;
  p.capacity = n_keys;
  p.scale = c.at("scale");
  p.softcap = softcap;
  BufferView step = upload(std::vector<uint32_t>{n_keys - 1, n_keys, 0, 0}), groups = space(4), y = space(d), none = space(4);
  BufferView queries = upload(query), partials = upload(std::vector<float>(attention_partials(1, 1, d)));
  KvCache cache = {upload(cached_keys(keys, d)), upload(values)};
  run([&](Recorder& r) {
    Tuning tuning = r.tuning;
    tuning.share_keys = share_keys;
    Recorder shared{r.device, r.recording, tuning};
    begin_step(shared, step, groups, 1, 1, d, {KeySpan{}}, false);
    attention(shared, step, queries, cache, {y, d}, partials, groups, none, none, p);
  });
  return download<float>(y, d);
}

// A head as query and as key, turned at its position: the query, then the key from the cache.
std::vector<float> device_rotation(const Json& c, uint32_t interleaved) {
  std::vector<float> head = c.at("head"), angles;
  uint32_t d = uint32_t(head.size()), position = c.at("position"), capacity = position + 2;
  RopeParams p = {};
  p.n_tokens = p.n_heads = p.n_kv_heads = 1;
  p.head_dim = d;
  p.rotary_dim = c.at("rotary_dim");
  p.interleaved = interleaved;
  p.qkv_stride = 3 * d;
  p.capacity = capacity;
  std::vector<double> frequencies = rope_frequencies({}, c.at("theta"), p.rotary_dim, capacity);
  for (uint32_t at = 0; at < capacity; ++at)
    for (double f : frequencies) angles.insert(angles.end(), {float(std::cos(at * f)), float(std::sin(at * f))});
  std::vector<float> qkv;
  for (int part = 0; part < 3; ++part) qkv.insert(qkv.end(), head.begin(), head.end());
  KvCache cache = {space(d * capacity), space(d * capacity)};
  BufferView step = upload(std::vector<uint32_t>{position, position + 1, 0, 0}), queries = space(d), none = space(4);
  BufferView rows = upload(qkv), table = upload(angles);
  run([&](Recorder& r) { rope_cache(r, step, {rows, 3 * d}, none, table, queries, cache, p); });
  std::vector<float> turned = download<float>(queries, d), keys = download<float>(cache.keys, d * capacity);
  for (uint32_t i = 0; i < d; ++i) turned.push_back(keys[(i / 4 * capacity + position) * 4 + i % 4]);
  return turned;
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
    RouteSums sums(rule.n_experts, rule.top_k);
    std::vector<float> logits = flat<float>(c.at("logits"));
    size_t part = 2;  // tokens of a first pass, to be added to the rest
    auto add = [&](size_t first, size_t end) {
      auto cut = [&](const auto& all, size_t width) { return std::decay_t<decltype(all)>(all.begin() + first * width, all.begin() + end * width); };
      sums.add(cut(logits, rule.n_experts), cut(got.chosen, rule.top_k), cut(got.ids, rule.top_k), cut(got.weights, rule.top_k));
    };
    add(0, part);
    add(part, logits.size() / rule.n_experts);
    RouteStats stats = sums.stats();
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
  for (const auto& [softcap, want] : attention.at("by_softcap").items()) {
    check_close(ref::attend(query.data(), {keys.data(), 8, 8}, {values.data(), 8, 8}, 5, attention.at("scale"), std::stof(softcap)), want);
    for (bool share_keys : {false, true}) check_close(device_attention(attention, std::stof(softcap), share_keys), want);
  }
  for (uint32_t interleaved : {0u, 1u}) {
    std::vector<double> want = all.at("rope").at("by_interleaved").at(std::to_string(interleaved)), both = want;
    both.insert(both.end(), want.begin(), want.end());
    check_close(device_rotation(all.at("rope"), interleaved), both);
  }

  std::array<uint32_t, 4> counter = all.at("philox").at("counter"), words = all.at("philox").at("words");
  CHECK(ref::philox(counter, all.at("philox").at("key")[0], all.at("philox").at("key")[1]) == words);
  CHECK(ref::philox(0, 0, 0) == 0x6627e8d5u);  // of the authors' Random123
  check_no_validation_messages();
}

TEST_CASE("known answers: matmul and SwiGLU, by reference and device, in every height of tiles") {
  const Json& c = answers().at("operations").at("matmul");
  uint32_t n = c.at("n"), k = c.at("k");
  std::vector<float> x = flat<float>(c.at("x")), gate = flat<float>(c.at("gate")), up = flat<float>(c.at("up")), bias = c.at("bias");
  std::vector<uint8_t> q8_0 = c.at("q8_0");
  auto tensor = [&](const char* format, const auto& values) {
    return Tensor{"known answer", find_format(format), {n, k}, reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(values[0])};
  };
  const Tensor gate_tensor = tensor("F32", gate), up_tensor = tensor("F32", up), q8_0_tensor = tensor("Q8_0", q8_0);
  auto matrix = [&](const Tensor& t) { return Matrix{n, k, {{{&t, 0, n, 1}}}, {}}; };
  const Matrix gate_matrix = matrix(gate_tensor), up_matrix = matrix(up_tensor), q8_0_matrix = matrix(q8_0_tensor);
  auto place = [&](const Matrix& m, const Matrix* with) { return place_weight(*device(), m, with, "known answer", [](uint64_t) {}); };
  Weight plain = place(gate_matrix, nullptr), pair = place(gate_matrix, &up_matrix), quantized = place(q8_0_matrix, nullptr);
  plain.biased = true;
  plain.bias = upload(bias).buffer;
  uint32_t rows = uint32_t(x.size() / k);
  // The error of a sum follows its norm, not its value.
  auto check_rows = [&](const Weight& weight, uint32_t epilogue, uint32_t at_once, const Json& answer) {
    std::vector<double> want = flat<double>(answer);
    for (uint32_t first = 0; first + at_once <= rows; first += at_once) {
      Rows in = {upload(x), k}, y = {space(at_once * n), n};
      run([&](Recorder& r) { matmul(r, {.weight = weight, .x = in, .y = y, .n_rows = at_once, .x_first = first, .epilogue = epilogue}); });
      std::vector<float> got = download<float>(y.view, at_once * n);
      for (size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - want[first * n + i]) < 1e-3 * (1 + std::abs(want[first * n + i])));
    }
  };
  for (uint32_t at_once : {1u, rows}) {
    check_rows(plain, EPILOGUE_STORE, at_once, c.at("plain"));
    check_rows(pair, EPILOGUE_GATED, at_once, c.at("swiglu"));
    check_rows(quantized, EPILOGUE_STORE, at_once, c.at("of_q8_0"));
  }
  for (uint32_t t = 0; t < rows; ++t) {
    std::vector<float> y = ref::matvec(q8_0_matrix, 0, &x[t * k]);
    for (uint32_t i = 0; i < n; ++i) CHECK(y[i] == doctest::Approx(c.at("of_q8_0")[t][i].get<double>()).epsilon(1e-5));
  }
  check_no_validation_messages();
}

TEST_CASE("statistics turn down what does not fit together") {
  RouteSums sums(2, 1);
  CHECK_THROWS_WITH(sums.add({0, 0, 0}, {0}, {0}, {1}), doctest::Contains("3 logits"));
  CHECK_THROWS_WITH(sums.add({0, 0}, {2}, {0}, {1}), doctest::Contains("found 2"));
  CHECK_THROWS_WITH(RouteSums(0, 1), doctest::Contains("0 experts"));
  sums.add({}, {}, {}, {});
  CHECK(sums.stats().load == std::vector<double>{0, 0});
}
