// Measures workgroup shapes on a device for a model's shapes. Called by vkmoe_tune().
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "moe/device_session.h"

namespace vkmoe {

// A kind of pass that is measured: decoding, some tokens at once, a prompt.
struct TunedPass {
  const char* name;
  uint32_t tokens;   // of a pass
  uint32_t repeats;  // passes in a measurement
  uint32_t height;   // index of the matmul tiles that it takes most
};
const std::vector<TunedPass>& tuned_passes();

// Says what is wrong with a choice of workgroup shapes for a model: its products, or its logits.
class TuningCheck {
 public:
  // Prepares sums in double precision of sampled rows of the model's matrices, decoded by the CPU, and the logits of the
  // shapes that are built in, which fail with VKMOE_ERROR_INTERNAL where they are wrong themselves.
  TuningCheck(std::shared_ptr<Model> model, const ModelSpec& spec);

  // "", or why a choice is refused: a product beyond the bound of float32 sums, (k + 8) 2^-24 sum |w x|, or of what is rounded
  // first, logits that are not the built-in shapes' with the same Products bit for bit, or what the device says. The session was opened with the same choice.
  std::string refusal(const Tuning& tuning, DeviceSession& session);
  std::unique_ptr<DeviceSession> open(const Tuning& tuning) const;
  double seconds(DeviceSession& session, const TunedPass& pass) const;  // of one token

 private:
  struct Sample {
    const Weight* weight;
    std::vector<float> x;              // (rows, row_stride(k))
    std::vector<uint32_t> at;          // of a row of y: expert * n + row
    std::vector<double> want, bounds[3];  // (rows, at); bounds by Products
  };
  void add_sample(const Weight& weight, const Matrix& matrix);
  std::string wrong_product(const Tuning& tuning, const Sample& sample);
  std::vector<float> logits(DeviceSession& session) const;
  const std::vector<float>& built_in_logits(Products products);

  std::shared_ptr<Model> model_;
  std::vector<int32_t> ids_;
  std::vector<Sample> samples_;
  std::vector<float> built_in_[3];  // by Products; empty: not asked for yet
};

struct TuningTrial {
  std::string pass, variant, refused;  // refused: why, "" where it was measured
  double seconds = 0, against = 0;     // of a token, and of the choice so far, measured in turn
  bool taken = false;
};

struct TuningResult {
  Tuning tuning;
  std::vector<TuningTrial> trials;
  std::vector<double> built_in, tuned;  // seconds of a token, by tuned_passes()
};

// Tries shapes one after the other until `seconds` are over (a trial that has begun is finished), and keeps what is faster
// than the choice so far by 2 %, measured in turn; what does not hold in a last comparison with the built-in shapes goes.
// progress gets the fraction done, and may throw to stop.
TuningResult tune(std::shared_ptr<Model> model, const ModelSpec& spec, double seconds,
                  const std::function<void(double)>& progress);

}  // namespace vkmoe
