#include "moe/device_session.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/numeric.h"
#include "moe/pass.h"
#include "moe/tuned.h"

namespace vkmoe {
namespace {

constexpr double submit_seconds = 0.03;  // a submission of several decode steps should last about so long
constexpr uint32_t most_steps = 16;      // in a submission; at most SAMPLE_RING, and HISTORY must hold them besides
constexpr size_t kept_passes = 4;
constexpr uint32_t short_pass = 16;      // tokens up to which a pass is one submission

// Experts with a capacity have room for so many of all tokens, so these are never taken apart.
uint32_t most_of_a_pass(const Model& model, uint32_t capacity_tokens, uint32_t chunk_tokens) {
  if (model.hyper.gate.drop) return capacity_tokens;
  return std::min(capacity_tokens, chunk_tokens ? chunk_tokens : default_chunk_tokens(model.device->caps()));
}

SampleBuffers sample_buffers(const Activations& a) {
  return {a.rule, a.logits, a.adjusted, a.step, a.history, a.tokens, a.ring};
}

void record_all_layers(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens) {
  record_embedding(r, model, a, n_tokens);
  record_layers(r, model, a, n_tokens, 0, model.hyper.n_layers);
}

void record_decode_step(Recorder& r, const Model& model, const Activations& a) {
  const Hyper& h = model.hyper;
  sample(r, sample_buffers(a), h.vocab);
  begin_step(r, a.step, a.attention_groups, h.n_heads, h.n_kv_heads, h.head_dim, key_spans(h), true);
  record_all_layers(r, model, a, 1);
  record_last_logits(r, model, a, 1);
}

Tuning choose_tuning(const Model& model, bool exact) {
  Tuning tuning = tuning_for(model);
  if (!exact) return tuning;
  tuning.products = Products::exact;
  tuning.half_cache = false;
  return tuning;
}

uint64_t control_bytes(uint32_t chunk) { return sizeof(Step) + HISTORY * 4 + chunk * 4ull; }

}  // namespace

void compile_for_session(const Model& shapes, uint32_t capacity_tokens, uint32_t chunk_tokens) {
  try {
    Tuning tuning = tuning_for(shapes);
    Recording nothing(*shapes.device, Recording::KernelsOnly{});
    Recorder r{*shapes.device, nothing, tuning};
    uint32_t chunk = most_of_a_pass(shapes, capacity_tokens, chunk_tokens);
    Activations a(shapes, capacity_tokens, chunk, tuning.half_cache, true);
    if (shapes.encoder) {
      Activations encoder(*shapes.encoder, capacity_tokens, capacity_tokens, tuning.half_cache, true);
      record_all_layers(r, *shapes.encoder, encoder, capacity_tokens);
      record_encoder_output(r, shapes, encoder, a, capacity_tokens);
    } else {
      record_all_layers(r, shapes, a, chunk);
      record_last_logits(r, shapes, a, chunk);
    }
    record_decode_step(r, shapes, a);
  } catch (const Error&) {
    // Whoever needs the kernel that cannot be had asks for it again, and is told.
  }
}

DeviceSession::DeviceSession(std::shared_ptr<Model> model, uint32_t capacity_tokens, uint32_t chunk_tokens, bool profile,
                             bool exact)
    : DeviceSession(model, capacity_tokens, chunk_tokens, profile, choose_tuning(*model, exact)) {}

DeviceSession::DeviceSession(std::shared_ptr<Model> model, uint32_t capacity_tokens, uint32_t chunk_tokens, bool profile,
                             const Tuning& tuning)
    : Session(model->hyper.vocab, capacity_tokens, model->encoder != nullptr),
      model_(model),
      tuning_(tuning),
      a_(*model, capacity_tokens, most_of_a_pass(*model, capacity_tokens, chunk_tokens), tuning.half_cache),
      profile_(profile) {
  if (model->encoder) {
    encoder_ = std::make_unique<Activations>(*model->encoder, capacity_tokens, capacity_tokens, tuning.half_cache);
    encoder_->input_end = a_.input_end;
  }
  control_ = model->device->create_buffer(control_bytes(a_.chunk), MemoryUse::upload, "control");
  start_ = model->device->counters();
}

DeviceSession::~DeviceSession() {
  try {
    model_->device->wait_idle();
  } catch (const Error&) {
    // The device is lost: nothing runs any more.
  }
}

std::unique_ptr<Recording> DeviceSession::record_open(const std::string& name, const std::function<void(Recorder&)>& body) {
  auto recording = std::make_unique<Recording>(*model_->device, name, profile_);
  Recorder recorder{*model_->device, *recording, tuning_};
  body(recorder);
  return recording;
}

std::unique_ptr<Recording> DeviceSession::record(const std::string& name, const std::function<void(Recorder&)>& body) {
  auto recording = record_open(name, body);
  recording->end();
  return recording;
}

DeviceSession::Pass DeviceSession::record_pass(const Model& model, const Activations& a, uint32_t n, const std::string& name,
                                               const std::function<void(Recorder&)>& first,
                                               const std::function<void(Recorder&)>& last) {
  Pass made;
  uint32_t n_layers = model.hyper.n_layers, piece = n <= short_pass ? n_layers : std::max(1u, n_layers / 8);
  if (!routing_.empty()) piece = 1;  // the next layer's routing takes the place of this one's
  for (uint32_t begin = 0; begin < n_layers; begin += piece) {
    uint32_t end = std::min(begin + piece, n_layers);
    made.push_back(record_open(cat(name, ", layers ", begin, " to ", end - 1), [&](Recorder& r) {
      if (begin == 0) {
        first(r);
        record_embedding(r, model, a, n);
      }
      record_layers(r, model, a, n, begin, end);
      if (end == n_layers) last(r);
    }));
  }
  for (auto& piece : made) piece->end();  // all recorded: their kernels are compiled side by side
  return made;
}

const DeviceSession::Pass& DeviceSession::pass(uint32_t n) {
  auto known = passes_.find(n);
  if (known != passes_.end()) return known->second;
  if (passes_.size() == kept_passes) {  // all finished: every pass is waited for
    passes_.erase(pass_order_.front());
    pass_order_.erase(pass_order_.begin());
  }
  const Hyper& h = model_->hyper;
  auto first = [&](Recorder& r) {
    r.recording.copy({control_, 0, sizeof(Step)}, {a_.step, 0, sizeof(Step)});
    r.recording.copy({control_, sizeof(Step), HISTORY * 4}, {a_.history, 0, HISTORY * 4});
    r.recording.copy({control_, sizeof(Step) + HISTORY * 4, n * 4ull}, {a_.tokens, 0, n * 4ull});
    if (n == 1) begin_step(r, a_.step, a_.attention_groups, h.n_heads, h.n_kv_heads, h.head_dim, key_spans(h), false);
  };
  Pass made = record_pass(*model_, a_, n, cat("pass of ", n, " tokens"), first,
                          [&](Recorder& r) { record_last_logits(r, *model_, a_, n); });
  pass_order_.push_back(n);
  return passes_.emplace(n, std::move(made)).first->second;
}

void DeviceSession::run(const std::vector<const Recording*>& recordings) {
  uint64_t ticket = 0;
  // Profiled recordings are run one by one, since each holds the times of its last run only.
  bool apart = profile_ || recordings.size() > 1;
  if (!apart) ticket = model_->device->submit(recordings);
  for (size_t i = 0; apart && i < recordings.size(); ++i) {
    ticket = model_->device->submit({recordings[i]});
    if (!profile_) continue;
    model_->device->wait(ticket);
    for (const KernelTime& t : recordings[i]->times()) {
      KernelTime& sum = times_[t.kernel];
      sum.kernel = t.kernel;
      sum.add(t);
    }
  }
  model_->device->wait(ticket);
}

void DeviceSession::set_step(const int32_t* new_ids, uint32_t count, uint32_t position) {
  uint8_t* to = static_cast<uint8_t*>(control_.mapped());
  Step step = {position, position + count, 0, 0};
  sampled_ = 0;
  std::memcpy(to, &step, sizeof(step));
  std::vector<uint32_t> history(HISTORY, 0xffffffffu);
  uint32_t next = position + count;
  for (uint32_t p = next > HISTORY ? next - HISTORY : 0; p < next; ++p)
    history[p % HISTORY] = uint32_t(p < position ? ids()[p] : new_ids[p - position]);
  std::memcpy(to + sizeof(Step), history.data(), HISTORY * 4);
  std::memcpy(to + sizeof(Step) + HISTORY * 4, new_ids, count * 4ull);
}

void DeviceSession::forward_encoder(const int32_t* ids, uint32_t count) {
  check_cancelled();
  check_length(count);
  Device& device = *model_->device;
  const Hyper& h = model_->encoder->hyper;
  Step begin = {0, count, 0, 0}, end = {count - 1, count, 0, 0};
  device.upload(encoder_->step, 0, &begin, sizeof(begin));
  device.upload(encoder_->input_end, 0, &end, sizeof(end));
  device.upload(encoder_->tokens, 0, ids, count * 4ull);
  auto first = [&](Recorder& r) {
    if (count == 1)
      begin_step(r, encoder_->step, encoder_->attention_groups, h.n_heads, h.n_kv_heads, h.head_dim, key_spans(h), false);
  };
  Pass pieces = record_pass(*model_->encoder, *encoder_, count, cat("encoder of ", count, " tokens"), first,
                            [&](Recorder& r) { record_encoder_output(r, *model_, *encoder_, a_, count); });
  std::vector<const Recording*> all;
  for (const auto& piece : pieces) all.push_back(piece.get());
  run(all);
  input_tokens_ = count;
}

// One invocation of attention walks over all keys of a pass that cannot be taken apart.
void DeviceSession::check_length(uint32_t keys) const {
  uint64_t most = tuning_.most_walked_keys(model_->hyper.head_dim);
  if (keys > most)
    fail(VKMOE_ERROR_UNSUPPORTED, "a pass over ", keys, " tokens is too long for ", model_->device->caps().name,
         ": expected at most ", most);
}

void DeviceSession::forward(const int32_t* new_ids, uint32_t count, uint32_t position, float* all_logits) {
  for (uint32_t done = 0; done < count;) {
    check_cancelled();
    uint32_t n = std::min(count - done, a_.chunk);
    if (n > 1 && model_->hyper.gate.drop) check_length(position + done + n);
    if (position + done + n > tuning_.most_walked_keys(model_->hyper.head_dim)) n = 1;  // one token's keys are shared out
    set_step(new_ids + done, n, position + done);
    std::vector<const Recording*> pieces;
    for (const auto& piece : pass(n)) pieces.push_back(piece.get());
    if (routing_.empty()) run(pieces);
    for (uint32_t layer = 0; !routing_.empty() && layer < pieces.size(); ++layer) {
      run({pieces[layer]});
      add_routing(layer, n);
    }
    if (all_logits) copy_all_logits(n, all_logits + uint64_t(done) * model_->hyper.vocab);
    done += n;
  }
}

void DeviceSession::add_routing(uint32_t layer, uint32_t n_tokens) {
  auto watched = routing_.find(layer);
  if (watched == routing_.end()) return;
  const Hyper& h = model_->hyper;
  uint32_t uses = a_.routing_for(n_tokens, model_->layers[layer]).uses();
  size_t n = size_t(n_tokens) * uses;
  std::vector<float> rows(size_t(n_tokens) * a_.router.stride), logits, weights(n);
  std::vector<uint32_t> ids(n), chosen(n);
  auto read = [&](const BufferView& from, auto& to) { model_->device->read_back(from.buffer, from.offset, to.data(), to.size() * 4); };
  read(a_.router.view, rows);
  read(a_.routing.weights, weights);
  read(a_.routing.ids, ids);
  read(h.gate.drop ? a_.routing.chosen : a_.routing.ids, chosen);
  for (uint32_t t = 0; t < n_tokens; ++t)
    logits.insert(logits.end(), &rows[size_t(t) * a_.router.stride], &rows[size_t(t) * a_.router.stride] + h.n_experts);
  auto without_shared = [&](auto& values) {
    for (size_t t = 0; t < n_tokens; ++t)
      std::copy_n(values.begin() + t * uses, h.top_k, values.begin() + t * h.top_k);
    values.resize(size_t(n_tokens) * h.top_k);
  };
  without_shared(chosen);
  without_shared(ids);
  without_shared(weights);
  watched->second.add(logits, chosen, ids, weights);
}

void DeviceSession::copy_all_logits(uint32_t n_tokens, float* out) {
  uint64_t row_bytes = model_->hyper.vocab * 4ull;
  for (uint32_t first = 0; first < n_tokens; first += a_.logits_rows) {
    uint32_t n = std::min(a_.logits_rows, n_tokens - first);
    auto recording = record("logits", [&](Recorder& r) { record_logits(r, *model_, a_, first, n); });
    run({recording.get()});
    model_->device->read_back(a_.all_logits, 0, out + uint64_t(first) * model_->hyper.vocab, n * row_bytes);
  }
}

void DeviceSession::read_logits(float* out) {
  model_->device->read_back(a_.logits, 0, out, model_->hyper.vocab * 4ull);
}

void DeviceSession::set_rule(const SampleRule& rule) {
  if (rule_set_ && std::memcmp(&rule, &rule_, sizeof(rule)) == 0) return;
  model_->device->upload(a_.rule, 0, &rule, sizeof(rule));
  rule_ = rule;
  rule_set_ = true;
}

int32_t DeviceSession::choose(const SampleRule& rule) {
  set_rule(rule);
  if (!sample_)
    sample_ = record("sample", [&](Recorder& r) { vkmoe::sample(r, sample_buffers(a_), model_->hyper.vocab); });
  run({sample_.get()});
  bytes_read_back_ += 4;
  return int32_t(static_cast<const uint32_t*>(a_.ring.mapped())[sampled_++ % SAMPLE_RING]);
}

std::vector<int32_t> DeviceSession::step(const SampleRule& rule, uint32_t most) {
  set_rule(rule);
  if (!decode_) {
    decode_ = record("decode step", [&](Recorder& r) { record_decode_step(r, *model_, a_); });
    decode_dispatches_ = decode_->dispatches();
  }
  uint32_t steps = step_seconds_ > 0 ? uint32_t(std::clamp(submit_seconds / step_seconds_, 1.0, double(most_steps))) : 1;
  steps = profile_ ? 1 : std::min(steps, most);
  auto start = std::chrono::steady_clock::now();
  if (steps == 1) {
    run({decode_.get()});
  } else {
    model_->device->wait(model_->device->submit(std::vector<const Recording*>(steps, decode_.get())));
  }
  step_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / steps;
  std::vector<int32_t> sampled;
  for (uint32_t i = 0; i < steps; ++i)
    sampled.push_back(int32_t(static_cast<const uint32_t*>(a_.ring.mapped())[sampled_++ % SAMPLE_RING]));
  bytes_read_back_ += 4 * steps;
  return sampled;
}

uint64_t DeviceSession::bytes_per_token() const {
  const Hyper& h = model_->hyper;
  uint64_t keys = 0;  // that all layers see
  if (h.cross_attention) keys += uint64_t(h.n_layers) * input_tokens_;
  for (const LayerAttention& layer : h.attention) {
    if (!position()) continue;
    auto [first, end] = visible_keys(layer.span, position() - 1);
    keys += end - first;
  }
  return model_->parameters.decode_weight_bytes + kv_layer_bytes(h, a_.half_cache) * keys;
}

nlohmann::json DeviceSession::stats() const {
  const DeviceCounters& now = model_->device->counters();
  nlohmann::json kernels = nlohmann::json::array();
  for (const auto& [name, time] : times_)
    kernels.push_back({{"name", name}, {"dispatches", time.dispatches}, {"nanoseconds", time.nanoseconds},
                       {"bytes", time.work.bytes}, {"flops", time.work.flops}});
  return {{"tokens_fed", tokens_fed_},
          {"tokens_generated", tokens_generated_},
          {"submits", now.submits - start_.submits},
          {"dispatches", now.dispatches - start_.dispatches},
          {"dispatches_per_decode_step", decode_dispatches_},
          {"bytes_read_back", now.bytes_read_back - start_.bytes_read_back + bytes_read_back_},
          {"bytes_uploaded", now.bytes_uploaded - start_.bytes_uploaded},
          {"kv_cache",
           {{"type", a_.half_cache ? "fp16" : "float32"},
            {"bytes", kv_cache_bytes(model_->hyper, a_.capacity, a_.half_cache)}}},
          {"device_bytes", now.memory_bytes},
          {"peak_device_bytes", now.peak_memory_bytes},
          {"bytes_per_token", bytes_per_token()},
          {"tuning", to_json(tuning_)},
          {"kernels", kernels},
          {"routing", routing_json()}};
}

}  // namespace vkmoe
