// One conversation: the tokens so far, and what can be done with them. The device and the CPU reference each bring the
// three steps at the bottom.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "moe/route_stats.h"
#include "shared/sample.h"

namespace vkmoe {

struct Hyper;

class Session {
 public:
  // has_encoder: an encoder reads the input, and the tokens of the session are the decoder's.
  Session(uint32_t vocab, uint32_t capacity_tokens, bool has_encoder)
      : vocab_(vocab), capacity_(capacity_tokens), has_encoder_(has_encoder) {}
  virtual ~Session() = default;

  uint32_t capacity() const { return capacity_; }
  uint32_t position() const { return uint32_t(ids_.size()); }
  void rewind(uint32_t position);

  // Reads the whole input of an encoder-decoder model, of at most capacity() tokens; tokens decoded before are forgotten.
  void encode(const int32_t* ids, size_t count);

  // Appends tokens; logits of all of them go to all_logits, (count, vocab), when it is not nullptr.
  void feed(const int32_t* ids, size_t count, float* all_logits);
  void logits(float* out);  // (vocab), of the last token
  int32_t sample(const SampleRule& rule);

  // Samples and appends up to `most` tokens; on_token returns true to stop after a token. Returns how many were reported.
  uint32_t generate(const SampleRule& rule, uint32_t most, const std::function<bool(int32_t)>& on_token);

  void cancel() { cancelled_ = true; }
  virtual nlohmann::json stats() const = 0;

  // From now on the routing of tokens that are fed (not of generated ones, nor an encoder's) is added up for stats().
  void watch_routing(const Hyper& hyper);

 protected:
  // Evaluates tokens at `position`; the cache holds all before it.
  virtual void forward(const int32_t* ids, uint32_t count, uint32_t position, float* all_logits) = 0;
  virtual void forward_encoder(const int32_t* ids, uint32_t count) = 0;
  virtual void read_logits(float* out) = 0;
  // Samples from the logits and evaluates, up to `most` times; returns the ids sampled, all of them evaluated.
  virtual std::vector<int32_t> step(const SampleRule& rule, uint32_t most);
  virtual int32_t choose(const SampleRule& rule) = 0;

  void check_cancelled();
  const std::vector<int32_t>& ids() const { return ids_; }
  nlohmann::json routing_json() const;  // a list of RouteSums::json() with "layer"
  uint64_t tokens_fed_ = 0, tokens_generated_ = 0;
  std::map<uint32_t, RouteSums> routing_;  // of layers with experts; empty: not watched

 private:
  void check_ids(const int32_t* ids, size_t count) const;
  void need_logits();
  uint32_t vocab_, capacity_;
  bool has_encoder_, encoded_ = false;
  std::vector<int32_t> ids_;
  uint32_t logits_at_ = 0;  // number of tokens whose last one the current logits belong to; 0: none
  std::atomic<bool> cancelled_{false};
};

}  // namespace vkmoe
