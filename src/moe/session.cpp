#include "moe/session.h"

#include <algorithm>

#include "base/error.h"
#include "moe/model_spec.h"

namespace vkmoe {

void Session::rewind(uint32_t position) {
  if (position > ids_.size())
    fail(VKMOE_ERROR_INVALID_ARGUMENT, "cannot rewind to token ", position, ": the context holds ", ids_.size());
  ids_.resize(position);
}

void Session::watch_routing(const Hyper& hyper) {
  for (uint32_t layer = 0; layer < hyper.n_layers; ++layer)
    if (hyper.layer_has_experts[layer]) routing_.emplace(layer, RouteSums(hyper.n_experts, hyper.top_k));
}

nlohmann::json Session::routing_json() const {
  nlohmann::json layers = nlohmann::json::array();
  for (const auto& [layer, sums] : routing_) {
    layers.push_back(sums.json());
    layers.back()["layer"] = layer;
  }
  return layers;
}

void Session::check_cancelled() {
  if (cancelled_.exchange(false)) fail(VKMOE_ERROR_CANCELLED, "cancelled");
}

void Session::check_ids(const int32_t* ids, size_t count) const {
  for (size_t i = 0; i < count; ++i)
    if (ids[i] < 0 || uint32_t(ids[i]) >= vocab_)
      fail(VKMOE_ERROR_INVALID_ARGUMENT, "token ", i, " has id ", ids[i], ": the vocabulary has ids from 0 to ", vocab_ - 1);
}

void Session::encode(const int32_t* ids, size_t count) {
  if (!has_encoder_) fail(VKMOE_ERROR_INVALID_ARGUMENT, "the model has no encoder: feed it its prompt");
  if (count == 0) fail(VKMOE_ERROR_INVALID_ARGUMENT, "the input is empty");
  check_ids(ids, count);
  if (count > capacity_)
    fail(VKMOE_ERROR_CONTEXT_FULL, "the input has ", count, " tokens, but the context has room for ", capacity_);
  encoded_ = false;
  ids_.clear();
  logits_at_ = 0;
  forward_encoder(ids, uint32_t(count));
  encoded_ = true;
  tokens_fed_ += count;
}

void Session::feed(const int32_t* ids, size_t count, float* all_logits) {
  if (has_encoder_ && !encoded_)
    fail(VKMOE_ERROR_INVALID_ARGUMENT, "an encoder-decoder model decodes nothing before its input is encoded");
  check_ids(ids, count);
  if (count > capacity_ - ids_.size())
    fail(VKMOE_ERROR_CONTEXT_FULL, "the prompt has ", count, " tokens, but the context has room for ",
         capacity_ - ids_.size(), " of its ", capacity_);
  if (count == 0) return;
  uint32_t position = uint32_t(ids_.size());
  ids_.insert(ids_.end(), ids, ids + count);
  logits_at_ = 0;
  try {
    forward(ids, uint32_t(count), position, all_logits);
  } catch (...) {
    ids_.resize(position);  // what was evaluated is forgotten
    throw;
  }
  logits_at_ = uint32_t(ids_.size());
  tokens_fed_ += count;
}

// Logits of another token are in the way after a rewind: evaluating the last token again gives the same bits.
void Session::need_logits() {
  if (ids_.empty()) fail(VKMOE_ERROR_INVALID_ARGUMENT, "there are no logits: no token was fed yet");
  if (logits_at_ == ids_.size()) return;
  logits_at_ = 0;
  forward(&ids_.back(), 1, uint32_t(ids_.size() - 1), nullptr);
  logits_at_ = uint32_t(ids_.size());
}

void Session::logits(float* out) {
  need_logits();
  read_logits(out);
}

int32_t Session::sample(const SampleRule& rule) {
  need_logits();
  return choose(rule);
}

std::vector<int32_t> Session::step(const SampleRule& rule, uint32_t) {
  int32_t id = choose(rule);
  forward(&id, 1, uint32_t(ids_.size()), nullptr);
  return {id};
}

uint32_t Session::generate(const SampleRule& rule, uint32_t most, const std::function<bool(int32_t)>& on_token) {
  uint32_t made = 0;
  while (made < most && ids_.size() < capacity_) {
    check_cancelled();
    need_logits();
    std::vector<int32_t> ids = step(rule, std::min(most - made, uint32_t(capacity_ - ids_.size())));
    logits_at_ = uint32_t(ids_.size() + ids.size());
    for (int32_t id : ids) {
      ids_.push_back(id);
      ++made;
      ++tokens_generated_;
      if (on_token(id)) return made;
    }
  }
  return made;
}

}  // namespace vkmoe
