// vkmoe bench: speed and cost of a prefill and of decoding. Counts beside the times do not depend on the machine.
#include <algorithm>

#include "commands.h"
#include "common.h"

namespace {

struct Options : RunOptions {
  uint32_t prompt_tokens = 128, tokens = 32, repetitions = 3;
  bool json = false, profile = false;
};

using Json = nlohmann::ordered_json;

// The same ids on every machine.
std::vector<int32_t> random_ids(uint32_t count, uint32_t vocab_size) {
  std::vector<int32_t> ids(count);
  uint32_t state = 12345;
  for (int32_t& id : ids) {
    state = state * 1664525u + 1013904223u;
    id = int32_t((state >> 8) % vocab_size);
  }
  return ids;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return (values[n / 2] + values[(n - 1) / 2]) / 2;
}

// Goes on past tokens that end an answer.
void decode(vkmoe_session* session, uint32_t tokens) {
  while (tokens > 0) {
    uint32_t made = 0;
    check(vkmoe_session_generate(session, nullptr, tokens, nullptr, nullptr, &made));
    if (made == 0 || made > tokens)
      throw Failure("expected " + std::to_string(tokens) + " more tokens, got " + std::to_string(made));
    tokens -= made;
  }
}

double difference(const nlohmann::json& after, const nlohmann::json& before, const char* key) {
  return after.at(key).get<double>() - before.at(key).get<double>();
}

struct Times {
  std::vector<double> first_token, prefill, decode;
};

Json counts(const nlohmann::json& after, const nlohmann::json& before, double tokens) {
  return {{"dispatches", difference(after, before, "dispatches") / tokens},
          {"submits", difference(after, before, "submits") / tokens},
          {"bytes_read_back", difference(after, before, "bytes_read_back") / tokens}};
}

// One repetition; returns the counts per token, of the prefill and of decoding.
Json measure(vkmoe_session* session, const std::vector<int32_t>& ids, const Options& options, Times& times) {
  check(vkmoe_session_rewind(session, 0));
  const nlohmann::json start = session_stats(session);
  Stopwatch prefill_watch;
  check(vkmoe_session_feed(session, ids.data(), ids.size()));
  times.prefill.push_back(double(ids.size()) / prefill_watch.seconds());
  const nlohmann::json fed = session_stats(session);
  Stopwatch first_watch;
  decode(session, 1);
  times.first_token.push_back(double(ids.size()) / times.prefill.back() + first_watch.seconds());
  const nlohmann::json first = session_stats(session);
  Stopwatch decode_watch;  // each of these tokens needs one pass over the model
  decode(session, options.tokens);
  times.decode.push_back(options.tokens / decode_watch.seconds());
  return {{"prefill", counts(fed, start, double(ids.size()))},
          {"decode", counts(session_stats(session), first, options.tokens)}};
}

void print_table(const Json& result) {
  std::string text = result.at("device").get<std::string>() + ", " + result.at("model").get<std::string>() + "\n";
  const auto row = [&text](const std::string& name, const std::string& value) {
    text += "  " + name + std::string(name.size() < 34 ? 34 - name.size() : 1, ' ') + value + "\n";
  };
  const auto number = [&result](const char* key) { return result.at(key).get<double>(); };
  row("load", fixed(number("load_seconds"), 3) + " s");
  row("first token", fixed(number("first_token_seconds"), 3) + " s");
  row("prefill of " + result.at("prompt_tokens").dump() + " tokens",
      fixed(number("prefill_tokens_per_second"), 1) + " tokens/s");
  row("decode of " + result.at("tokens").dump() + " tokens",
      fixed(number("decode_tokens_per_second"), 1) + " tokens/s");
  row("read per decoded token", bytes_text(number("bytes_per_token")));
  row("read while decoding", fixed(number("gigabytes_per_second"), 2) + " GB/s");
  for (const char* phase : {"prefill", "decode"}) {
    const Json& per_token = result.at("per_token").at(phase);
    row(std::string(phase) + ", per token", fixed(per_token.at("dispatches").get<double>(), 2) + " dispatches, " +
                                                fixed(per_token.at("submits").get<double>(), 3) + " submits");
  }
  row("device memory", bytes_text(number("device_bytes")));
  if (result.contains("kernels")) {
    text += "  kernels (time in all, dispatches)\n";
    for (const Json& kernel : result.at("kernels")) {
      row("  " + kernel.at("name").get<std::string>(),
          fixed(kernel.at("nanoseconds").get<double>() / 1e6, 3) + " ms, " + kernel.at("dispatches").dump());
    }
  }
  print(text);
}

Json slowest_first(const nlohmann::json& list) {
  std::vector<nlohmann::json> kernels(list.begin(), list.end());
  const auto time = [](const nlohmann::json& kernel) { return kernel.at("nanoseconds").get<double>(); };
  std::sort(kernels.begin(), kernels.end(), [&](const auto& a, const auto& b) { return time(a) > time(b); });
  return kernels;
}

void bench(const Options& options) {
  const LoadedModel loaded = load_model(options);
  const std::string path = model_path(options.model);
  char* text = nullptr;
  check(vkmoe_inspect_json(path.c_str(), options.context_tokens, &text));
  const double bytes_per_token = take_json(text).at("bytes_per_decoded_token").get<double>();

  const Session session = open_session(loaded.model.get(), options, options.profile);
  check_fits(session.get(), size_t(options.prompt_tokens) + options.tokens + 1,
             "the prompt (-p) with the answer (-n)");
  const std::vector<int32_t> ids = random_ids(options.prompt_tokens, vkmoe_model_vocab_size(loaded.model.get()));
  Times times;
  Json per_token;
  ProgressBar bar("bench");
  for (uint32_t i = 0; i < options.repetitions; ++i) {
    per_token = measure(session.get(), ids, options, times);
    bar.update(double(i + 1) / options.repetitions);
  }
  bar.clear();
  const nlohmann::json stats = session_stats(session.get());
  const double decode_rate = median(times.decode);
  Json result = {{"model", path},
                 {"device", loaded.device ? vkmoe_device_name(loaded.device.get()) : "CPU reference"},
                 {"prompt_tokens", options.prompt_tokens},
                 {"tokens", options.tokens},
                 {"repetitions", options.repetitions},
                 {"load_seconds", loaded.load_seconds},
                 {"first_token_seconds", median(times.first_token)},
                 {"prefill_tokens_per_second", median(times.prefill)},
                 {"decode_tokens_per_second", decode_rate},
                 {"bytes_per_token", bytes_per_token},
                 {"gigabytes_per_second", bytes_per_token * decode_rate / 1e9},
                 {"per_token", per_token},
                 {"device_bytes", stats.at("device_bytes")},
                 {"peak_device_bytes", stats.at("peak_device_bytes")}};
  if (options.profile) {
    result["kernels"] = slowest_first(stats.at("kernels"));
  }
  if (options.json)
    print_json(result);
  else
    print_table(result);
}

}  // namespace

void add_bench(CLI::App& program) {
  CLI::App* app = program.add_subcommand("bench", "Measures prefill and decode speed, and what a token costs");
  auto options = std::make_shared<Options>();
  add_run_options(*app, *options);
  app->add_option("-p,--prompt", options->prompt_tokens, "prompt tokens")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("-n,--tokens", options->tokens, "tokens to decode")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("-r,--repetitions", options->repetitions, "the median of so many runs is shown")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app->add_flag("--profile", options->profile, "time every kernel, too (slows the run down)");
  app->add_flag("--json", options->json, "print a JSON object");
  app->callback([options] { bench(*options); });
}
