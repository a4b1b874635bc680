// vkmoe bench --sweep: speed over the length of prompts, of the context, and of a pass.
#include <algorithm>

#include "../plot.h"
#include "bench.h"

namespace {

using Json = nlohmann::ordered_json;

// Powers of two, and the lengths beside them where kernels change their shape.
constexpr uint32_t prompt_lengths[] = {1,  2,  3,   4,   5,   7,   8,   9,   15,  16,  17,   31,   32,  33,
                                       63, 64, 65, 127, 128, 129, 255, 256, 257, 512, 1023, 1024, 2048};
constexpr uint32_t context_lengths[] = {1, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
constexpr uint32_t most_batch = 64;
constexpr double long_seconds = 2;  // what takes longer is measured once

class Sweep {
 public:
  Sweep(vkmoe_session* session, const BenchOptions& options, uint32_t vocab)
      : session_(session), options_(options), bar_("sweep"), room_(vkmoe_session_capacity_tokens(session)) {
    if (room_ < 2) throw Failure("a sweep needs a context of at least 2 tokens, found " + std::to_string(room_));
    const uint32_t most = options.prompt_tokens ? options.prompt_tokens : BenchOptions::most_prompt;
    for (uint32_t n : prompt_lengths)
      if (n <= std::min(most, room_)) prompts_.push_back(n);
    for (uint32_t n : context_lengths)
      if (n <= most && n + options.tokens + 1 <= room_) contexts_.push_back(n);
    for (uint32_t n = 1; n <= std::min(most_batch, room_); ++n) batches_.push_back(n);
    ids_ = random_ids(room_, vocab);
    for (uint32_t n : prompts_) total_ += n;
    for (uint32_t n : batches_) total_ += n;
    if (!contexts_.empty()) total_ += contexts_.back() + double(contexts_.size()) * options.tokens;
  }

  Json run() {
    Json prefill = Json::array(), decoding = Json::array(), batch = Json::array();
    for (uint32_t n : prompts_) {
      const double seconds = feed_seconds(n, "prefill");
      prefill.push_back({{"tokens", n}, {"seconds", seconds}, {"tokens_per_second", n / seconds}});
    }
    check(vkmoe_session_rewind(session_, 0));
    for (uint32_t n : contexts_) {
      const double seconds = decode_seconds(n);
      decoding.push_back({{"context_tokens", n}, {"seconds", seconds}, {"tokens_per_second", options_.tokens / seconds}});
    }
    double worst = 0, before = 0;
    for (uint32_t n : batches_) {
      const double seconds = feed_seconds(n, "batch");
      batch.push_back({{"tokens", n}, {"seconds", seconds}});
      if (before > 0) worst = std::max(worst, before / seconds);
      before = seconds;
    }
    bar_.clear();
    return {{"prefill", prefill}, {"decode", decoding}, {"batch", batch}, {"batch_worst_step", worst}};
  }

 private:
  void progress(double tokens, const char* what) {
    done_ += tokens;
    bar_.update(done_ / total_, what);
  }

  // The fastest of some feeds of n tokens from the beginning; the first one warms up, and counts only where it was long.
  double feed_seconds(uint32_t n, const char* what) {
    double best = 0;
    for (uint32_t i = 0; i <= options_.repetitions; ++i) {
      check(vkmoe_session_rewind(session_, 0));
      Stopwatch watch;
      check(vkmoe_session_feed(session_, ids_.data(), n));
      const double seconds = watch.seconds();
      if (i <= 1 || seconds < best) best = seconds;
      if (seconds > long_seconds) break;
    }
    progress(n, what);
    return best;
  }

  // The same for decoding behind a context of n tokens, of which those that the context holds are not fed again.
  double decode_seconds(uint32_t n) {
    const uint32_t held = vkmoe_session_position_tokens(session_);
    check(vkmoe_session_feed(session_, ids_.data() + held, n - held));
    double best = 0;
    for (uint32_t i = 0; i <= options_.repetitions; ++i) {
      check(vkmoe_session_rewind(session_, n - 1));
      check(vkmoe_session_feed(session_, ids_.data() + n - 1, 1));
      Stopwatch watch;
      decode(session_, options_.tokens);
      const double seconds = watch.seconds();
      if (i <= 1 || seconds < best) best = seconds;
      if (seconds > long_seconds) break;
    }
    check(vkmoe_session_rewind(session_, n));
    progress(n - held + options_.tokens, "decode");
    return best;
  }

  vkmoe_session* session_;
  const BenchOptions& options_;
  ProgressBar bar_;
  uint32_t room_;
  std::vector<uint32_t> prompts_, contexts_, batches_;
  std::vector<int32_t> ids_;
  double done_ = 0, total_ = 0;
};

Panel panel(const Json& list, const std::string& title, const std::string& x_label, const char* x, const char* y, bool log_x,
            double scale = 1) {
  Panel made{title, x_label, {}, log_x};
  for (const Json& point : list) made.points.push_back({point.at(x).get<double>(), point.at(y).get<double>() * scale});
  return made;
}

}  // namespace

void sweep(const BenchOptions& options) {
  check_writable(options.sweep);
  if (!options.plot.empty()) check_writable(options.plot);
  const LoadedModel loaded = load_model(options);
  const Session session = open_session(loaded.model.get(), options);
  Json result = {{"model", model_path(options.model)},
                 {"device", loaded.device ? vkmoe_device_name(loaded.device.get()) : "CPU reference"},
                 {"version", vkmoe_version()},
                 {"context_tokens", vkmoe_session_capacity_tokens(session.get())},
                 {"repetitions", options.repetitions},
                 {"decoded_tokens", options.tokens}};
  result.update(Sweep(session.get(), options, vkmoe_model_vocab_size(loaded.model.get())).run());
  write_file(options.sweep, {result.dump(2) + "\n"});
  if (!options.plot.empty()) {
    const std::string name = result.at("model"), heading = name.substr(name.find_last_of('/') + 1) + ", " + result.at("device").get<std::string>();
    write_file(options.plot,
               {plot_png(heading, {panel(result.at("prefill"), "prefill, tokens/s", "tokens of the prompt", "tokens",
                                         "tokens_per_second", true),
                                   panel(result.at("decode"), "decode, tokens/s", "tokens of the context", "context_tokens",
                                         "tokens_per_second", true),
                                   panel(result.at("batch"), "one pass, ms", "tokens of the pass", "tokens", "seconds", false,
                                         1000)})});
  }
  if (options.json) return print_json(result);
  print(options.sweep + ": " + std::to_string(result.at("prefill").size()) + " prompts, " +
        std::to_string(result.at("decode").size()) + " contexts, passes of 1 to " +
        result.at("batch").back().at("tokens").dump() + " tokens; at worst a pass takes " +
        fixed(result.at("batch_worst_step").get<double>(), 2) + " times that of one token more\n");
}
