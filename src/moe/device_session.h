// A session on a Vulkan device: passes are recorded once per number of tokens and replayed; a decode step (sample, then
// one pass) is one recording that is submitted several times at once.
#pragma once
#include <map>
#include <memory>

#include "moe/activations.h"
#include "moe/session.h"

namespace vkmoe {

// Has the pipelines compiled in the background that sessions of such a size need: those of a full chunk (of an encoder's full
// input) and of a decode step. chunk_tokens as in DeviceSession. The shapes of the model suffice (model_shapes()).
void compile_for_session(const Model& shapes, uint32_t capacity_tokens, uint32_t chunk_tokens);

class DeviceSession : public Session {
 public:
  // chunk_tokens: most tokens of a pass; 0: chosen. Without a tuning: what is stored for the device and the model's shapes,
  // else the built-in one; exact: without what would change logits (Tuning::products).
  DeviceSession(std::shared_ptr<Model> model, uint32_t capacity_tokens, uint32_t chunk_tokens, bool profile, bool exact = false);
  DeviceSession(std::shared_ptr<Model> model, uint32_t capacity_tokens, uint32_t chunk_tokens, bool profile,
                const Tuning& tuning);
  ~DeviceSession() override;
  nlohmann::json stats() const override;

 protected:
  void forward(const int32_t* ids, uint32_t count, uint32_t position, float* all_logits) override;
  void forward_encoder(const int32_t* ids, uint32_t count) override;
  void read_logits(float* out) override;
  std::vector<int32_t> step(const SampleRule& rule, uint32_t most) override;
  int32_t choose(const SampleRule& rule) override;

 private:
  // A pass in pieces, each submitted on its own so that none runs long.
  using Pass = std::vector<std::unique_ptr<Recording>>;
  const Pass& pass(uint32_t n_tokens);
  // Records the layers of a model in pieces; first and last are recorded before and after all of them.
  Pass record_pass(const Model& model, const Activations& a, uint32_t n_tokens, const std::string& name,
                   const std::function<void(Recorder&)>& first, const std::function<void(Recorder&)>& last);
  std::unique_ptr<Recording> record(const std::string& name, const std::function<void(Recorder&)>& body);
  std::unique_ptr<Recording> record_open(const std::string& name, const std::function<void(Recorder&)>& body);  // not ended
  void run(const std::vector<const Recording*>& recordings);
  void add_routing(uint32_t layer, uint32_t n_tokens);  // of the layer that ran last
  void check_length(uint32_t keys) const;
  void set_step(const int32_t* ids, uint32_t count, uint32_t position);
  void set_rule(const SampleRule& rule);
  void copy_all_logits(uint32_t n_tokens, float* out);
  uint64_t bytes_per_token() const;

  std::shared_ptr<Model> model_;
  Tuning tuning_;
  Activations a_;
  std::unique_ptr<Activations> encoder_;  // of an encoder-decoder model
  uint32_t input_tokens_ = 0;             // that the encoder has read
  bool profile_;
  Buffer control_;  // written by the host: Step, tokens, history
  std::map<uint32_t, Pass> passes_;
  std::vector<uint32_t> pass_order_;  // oldest first
  std::unique_ptr<Recording> decode_, sample_;
  SampleRule rule_ = {};
  bool rule_set_ = false;
  uint32_t sampled_ = 0;        // as the device counts them
  double step_seconds_ = 0;     // of one decode step, measured; 0: not yet
  uint64_t decode_dispatches_ = 0, bytes_read_back_ = 0;
  std::map<std::string, KernelTime> times_;
  DeviceCounters start_;
};

}  // namespace vkmoe
