#include "moe/tune.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <random>

#include "base/numeric.h"
#include "moe/tuned.h"

namespace vkmoe {
namespace {

constexpr uint32_t prompt_tokens = 64, capacity_tokens = 128, sampled_rows = 8, most_rows = TILE_HEIGHT_3;
constexpr uint64_t most_sample_bytes = 64 << 20;  // of products
constexpr uint32_t rounds = 3;
constexpr double least_gain = 0.98;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string text_of(const Tuning::Matmul& m) {
  return cat("matmul rows ", m.lane_rows, ", split ", m.split, ", tiles ", m.pairs);
}

std::string text_of(const Tuning::Staged& s) {
  return s.lanes ? cat("matmul_staged of ", s.lanes, ", rows ", s.lane_rows) : "no matmul_staged";
}

std::string text_of(const Tuning::Int8& i) { return cat("matmul_int8 of ", i.lanes, ", rows ", i.lane_rows); }

struct Candidate {
  std::string name;
  std::function<void(Tuning&)> apply;  // to the choice so far
};

std::vector<Candidate> candidates(const TunedPass& pass, const Tuning& built_in, const Caps& caps) {
  std::vector<Candidate> all;
  if (pass.tokens == 1) {
    all.push_back({"keys of attention shared out or not", [](Tuning& t) { t.share_keys = !t.share_keys; }});
    all.push_back({"router apart from norm and gate, or with them", [b = built_in.fused_router_bytes](Tuning& t) {
                     t.fused_router_bytes = t.fused_router_bytes ? 0 : b;
                   }});
  }
  if (pass.height == TILE_HEIGHTS - 1) {
    for (Products products : {Products::exact, Products::int8, Products::fp16}) {
      if (!built_in.staged.lanes || products == built_in.products || !possible(products, caps)) continue;
      all.push_back({cat("products of ", products_name(products)), [products](Tuning& t) { t.products = products; }});
    }
    for (const Tuning::Staged& staged : {Tuning::Staged{128, 4}, {128, 8}, {64, 4}, {64, 8}, {0, 4}}) {
      Tuning::Staged shape = {staged.lanes, staged.lane_rows, built_in.staged.from};
      if (built_in.products != Products::exact && !shape.lanes) continue;  // it would take these products away, too
      if (possible(shape, caps)) all.push_back({text_of(shape), [shape](Tuning& t) { t.staged = shape; }});
    }
    for (const Tuning::Int8& shape : {Tuning::Int8{64, 8}, {128, 4}, {128, 8}, {64, 4}}) {
      if (built_in.products == Products::int8 && possible(shape, caps))
        all.push_back({text_of(shape), [shape](Tuning& t) { t.int8 = shape; }});
    }
    return all;
  }
  for (uint32_t pairs : {1u, 2u}) {
    for (uint32_t lane_rows : {1u, 2u, 4u, 8u}) {
      for (uint32_t split : {1u, 2u, 4u, 8u}) {
        Tuning::Matmul shape = {lane_rows, split, pairs};
        uint32_t lanes = TILE_ROWS / lane_rows * split;
        if (lanes < 8 || lanes > 256 || !possible(shape, pass.height, built_in.texels, caps)) continue;
        all.push_back({text_of(shape), [shape, height = pass.height](Tuning& t) { t.matmul[height] = shape; }});
      }
    }
  }
  return all;
}

// The faster of a few measurements each, taken in turn; a choice that is far off is not measured again.
std::pair<double, double> in_turn(const TuningCheck& check, DeviceSession& a, DeviceSession& b, const TunedPass& pass) {
  double best_a = INFINITY, best_b = INFINITY;
  for (uint32_t i = 0; i < rounds && (i == 0 || best_b < 1.5 * best_a); ++i) {
    best_a = std::min(best_a, check.seconds(a, pass));
    best_b = std::min(best_b, check.seconds(b, pass));
  }
  return {best_a, best_b};
}

bool same(const Tuning& a, const Tuning& b) { return to_json(a) == to_json(b); }

}  // namespace

const std::vector<TunedPass>& tuned_passes() {
  static const std::vector<TunedPass> passes = {
      {"decode", 1, 8, 0}, {"4 tokens", 4, 2, 1}, {"16 tokens", 16, 1, 2}, {"64 tokens", prompt_tokens, 1, 3}};
  return passes;
}

TuningCheck::TuningCheck(std::shared_ptr<Model> model, const ModelSpec& spec) : model_(model) {
  std::mt19937 random(1);
  for (uint32_t i = 0; i < capacity_tokens; ++i) ids_.push_back(int32_t(random() % model->hyper.vocab));
  for (uint32_t i = 0; i < model->layers.size(); ++i) {
    if (!model->layers[i].has_experts && i + 1 < model->layers.size()) continue;
    add_sample(model->layers[i].o, spec.layers[i].o);
    add_sample(model->layers[i].down, layer_experts(spec.hyper, spec.layers[i]).down);
    break;
  }
  add_sample(model->output(), model->head.shards.empty() ? spec.embedding : spec.head);
  Tuning tuning = Tuning::of(model->device->caps());
  for (const Sample& sample : samples_) {
    std::string wrong = wrong_product(tuning, sample);
    if (!wrong.empty())
      fail(VKMOE_ERROR_INTERNAL, "the built-in shapes: ", wrong, " on ", model->device->caps().name);
  }
  built_in_logits(tuning.products);
}

const std::vector<float>& TuningCheck::built_in_logits(Products products) {
  std::vector<float>& found = built_in_[int(products)];
  Tuning tuning = Tuning::of(model_->device->caps());
  tuning.products = products;
  if (found.empty()) found = logits(*open(tuning));
  return found;
}

std::unique_ptr<DeviceSession> TuningCheck::open(const Tuning& tuning) const {
  return std::make_unique<DeviceSession>(model_, capacity_tokens, 0, false, tuning);
}

void TuningCheck::add_sample(const Weight& weight, const Matrix& matrix) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(-1, 1);
  uint32_t stride = row_stride(weight.k);
  Sample sample = {&weight, std::vector<float>(size_t(most_rows) * stride), {}, {}, {}};
  for (uint32_t t = 0; t < most_rows; ++t)
    for (uint32_t i = 0; i < weight.k; ++i) sample.x[size_t(t) * stride + i] = uniform(random);
  std::vector<std::vector<float>> rows;
  std::vector<uint8_t> scratch;
  for (uint32_t i = 0; i < sampled_rows; ++i) {
    uint32_t expert = uint32_t(random() % weight.n_experts);
    uint32_t row = i == 0 ? weight.n - 1 : uint32_t(random() % weight.n);
    const Format* format;
    const uint8_t* data = matrix.row(expert, row, &format, scratch);
    std::vector<float> values(weight.k);
    decode_row(*format, data, 0, weight.k, values.data());
    values.push_back(matrix.bias.empty() ? 0 : matrix.bias_values(expert)[row]);
    rows.push_back(values);
    sample.at.push_back(expert * weight.n + row);
  }
  for (uint32_t t = 0; t < most_rows; ++t) {
    for (const std::vector<float>& row : rows) {
      double sum = row.back(), norm = std::abs(sum), most = 0, weights = 0, rounded = 0, halved = 0;
      for (uint32_t i = 0; i < weight.k; ++i) {
        double x = sample.x[size_t(t) * stride + i], product = double(row[i]) * x;
        sum += product;
        norm += std::abs(product);
        // Both to fp16, x scaled to below 1: shaders may round either way, and flush denormals.
        halved += std::abs(row[i]) * std::max(std::abs(x) * 0x1p-11, 0x1p-28) * 1.001;
        halved += std::abs(x) * std::max(std::abs(double(row[i])) * 0x1p-10, 0x1p-14);
        most = std::max(most, std::abs(x));
        weights += std::abs(double(row[i]));
        if (i % 32 < 31 && i + 1 < weight.k) continue;  // 32 values share a step of x
        rounded += weights * most / 127 * 0.505;
        most = weights = 0;
      }
      sample.want.push_back(sum);
      double exact = norm * (weight.k + 8) * 0x1p-24;
      sample.bounds[int(Products::exact)].push_back(exact);
      sample.bounds[int(Products::int8)].push_back(exact + rounded);
      sample.bounds[int(Products::fp16)].push_back(2 * exact + halved);  // matrix units may round sums towards zero
    }
  }
  samples_.push_back(std::move(sample));
}

std::string TuningCheck::wrong_product(const Tuning& tuning, const Sample& sample) {
  Device& device = *model_->device;
  const Weight& w = *sample.weight;
  Rows x = {device.create_buffer(sample.x.size() * 4, MemoryUse::device, "sampled x"), row_stride(w.k)};
  uint32_t stride = w.n_experts * row_stride(w.n), room = most_rows;
  while (room > 1 && uint64_t(room) * stride * 4 > most_sample_bytes) room /= 2;
  Rows y = {device.create_buffer(uint64_t(room) * stride * 4, MemoryUse::device, "sampled y"), stride};
  device.upload(x.view.buffer, 0, sample.x.data(), sample.x.size() * 4);
  std::vector<float> row(y.stride), nothing(size_t(room) * y.stride, NAN);
  Buffer buffer;
  for (auto [n_rows, round] : {std::pair(TILE_HEIGHT_0, false), {TILE_HEIGHT_1, false}, {TILE_HEIGHT_2, false}, {TILE_HEIGHT_3, false},
                               {TILE_HEIGHT_3, true}}) {
    if (uint32_t(n_rows) > room) break;
    device.upload(y.view.buffer, 0, nothing.data(), nothing.size() * 4);
    Recording recording(device, "sampled products");
    Recorder recorder{device, recording, tuning};
    Products products = round ? products_of(recorder, w, n_rows) : Products::exact;
    if (round && products == Products::exact) break;
    std::optional<BufferView> rounded_x;
    if (round) {
      buffer = device.create_buffer(rounded_rows_bytes(products, most_rows, w.k), MemoryUse::device, "sampled x, rounded");
      rounded_x = buffer;
      round_rows(recorder, products, x, buffer, n_rows, w.k);
    }
    matmul(recorder, {.weight = w, .x = x, .y = y, .n_rows = uint32_t(n_rows), .rounded_x = rounded_x, .y_batch = w.n});
    recording.end();
    device.wait(device.submit({&recording}));
    for (uint32_t t = 0; t < uint32_t(n_rows); ++t) {
      device.read_back(y.view.buffer, uint64_t(t) * y.stride * 4, row.data(), row.size() * 4);
      for (size_t i = 0; i < sample.at.size(); ++i) {
        size_t j = t * sample.at.size() + i;
        if (!(std::abs(row[sample.at[i]] - sample.want[j]) <= sample.bounds[int(products)][j]))
          return cat("row ", sample.at[i] % w.n, " of a ", w.format->name, " matrix (", w.n, ", ", w.k, "), ", n_rows,
                     " at once as ", products_name(products), ": expected ", sample.want[j], ", found ", row[sample.at[i]]);
      }
    }
  }
  return "";
}

std::vector<float> TuningCheck::logits(DeviceSession& session) const {
  std::vector<float> all;
  size_t vocab = model_->hyper.vocab, at = 0;
  if (model_->encoder) session.encode(ids_.data(), prompt_tokens);
  session.rewind(0);
  for (size_t n : {size_t(prompt_tokens), size_t(16), size_t(4), size_t(1)}) {
    all.resize(all.size() + n * vocab);
    session.feed(&ids_[at], n, &all[all.size() - n * vocab]);
    at += n;
  }
  return all;
}

std::string TuningCheck::refusal(const Tuning& tuning, DeviceSession& session) {
  try {
    for (const Sample& sample : samples_) {
      std::string wrong = wrong_product(tuning, sample);
      if (!wrong.empty()) return wrong;
    }
    const std::vector<float>& want = built_in_logits(tuning.products);
    std::vector<float> found = logits(session);
    for (size_t i = 0; i < found.size(); ++i) {
      if (std::memcmp(&found[i], &want[i], 4) != 0)
        return cat("logit ", i % model_->hyper.vocab, " of token ", i / model_->hyper.vocab, ": expected ", want[i],
                   ", found ", found[i]);
    }
  } catch (const Error& error) {
    if (error.status == VKMOE_ERROR_DEVICE_LOST || error.status == VKMOE_ERROR_OUT_OF_MEMORY) throw;
    return error.what();
  }
  return "";
}

double TuningCheck::seconds(DeviceSession& session, const TunedPass& pass) const {
  uint32_t at = pass.tokens == prompt_tokens ? 0 : prompt_tokens;
  double begin = now();
  for (uint32_t i = 0; i < pass.repeats; ++i) {
    session.rewind(at);
    session.feed(&ids_[at], pass.tokens, nullptr);
  }
  return (now() - begin) / pass.repeats / pass.tokens;
}

TuningResult tune(std::shared_ptr<Model> model, const ModelSpec& spec, double seconds,
                  const std::function<void(double)>& progress) {
  const Caps& caps = model->device->caps();
  const Tuning built_in = Tuning::of(caps);
  progress(0);
  TuningCheck check(model, spec);
  TuningResult result = {built_in, {}, {}, {}};
  std::unique_ptr<DeviceSession> best = check.open(built_in);
  check.refusal(built_in, *best);  // its cache holds the prompt now
  const auto& passes = tuned_passes();
  double begin = now();
  for (size_t i = 0; i < passes.size(); ++i) {
    double end = begin + seconds * double(i + 1) / double(passes.size());
    for (const Candidate& candidate : candidates(passes[i], built_in, caps)) {
      if (now() >= end) break;
      progress(std::min((now() - begin) / seconds, 1.0));
      Tuning tuning = result.tuning;
      candidate.apply(tuning);
      if (same(tuning, result.tuning)) continue;
      auto session = check.open(tuning);
      TuningTrial trial = {passes[i].name, candidate.name, check.refusal(tuning, *session)};
      if (trial.refused.empty()) {
        std::tie(trial.against, trial.seconds) = in_turn(check, *best, *session, passes[i]);
        trial.taken = trial.seconds < least_gain * trial.against;
      }
      if (trial.taken) {
        result.tuning = tuning;
        best = std::move(session);
      }
      result.trials.push_back(trial);
    }
  }
  auto first = check.open(built_in);
  check.refusal(built_in, *first);
  for (const TunedPass& pass : passes) {
    auto [before, after] = in_turn(check, *first, *best, pass);
    result.built_in.push_back(before);
    result.tuned.push_back(after);
    if (after <= before) continue;
    result.tuned.back() = before;
    if (pass.height < TILE_HEIGHTS - 1) {
      result.tuning.matmul[pass.height] = built_in.matmul[pass.height];
    } else {
      result.tuning.staged = built_in.staged;
      result.tuning.int8 = built_in.int8;
      result.tuning.products = built_in.products;
    }
    if (pass.tokens > 1) continue;
    result.tuning.share_keys = built_in.share_keys;
    result.tuning.fused_router_bytes = built_in.fused_router_bytes;
  }
  progress(1);
  return result;
}

}  // namespace vkmoe
