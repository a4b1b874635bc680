// vkmoe bench: speed and cost of a prefill and of decoding. Counts beside the times do not depend on the machine.
#include <algorithm>
#include <map>

#include "bench.h"
#include "commands.h"

std::vector<int32_t> random_ids(uint32_t count, uint32_t vocab_size) {
  std::vector<int32_t> ids(count);
  uint32_t state = 12345;
  for (int32_t& id : ids) {
    state = state * 1664525u + 1013904223u;
    id = int32_t((state >> 8) % vocab_size);
  }
  return ids;
}

void decode(vkmoe_session* session, uint32_t tokens) {
  while (tokens > 0) {
    uint32_t made = 0;
    check(vkmoe_session_generate(session, nullptr, tokens, nullptr, nullptr, &made));
    if (made == 0 || made > tokens)
      throw Failure("expected " + std::to_string(tokens) + " more tokens, got " + std::to_string(made));
    tokens -= made;
  }
}

namespace {

using Json = nlohmann::ordered_json;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return (values[n / 2] + values[(n - 1) / 2]) / 2;
}

double difference(const nlohmann::json& after, const nlohmann::json& before, const char* key) {
  return after.at(key).get<double>() - before.at(key).get<double>();
}

struct Times {
  std::vector<double> first_token, prefill, decode;
  // By phase and name: sums by key; with --profile.
  std::map<std::pair<std::string, std::string>, std::map<std::string, double>> kernels;
};

constexpr const char* kernel_sums[] = {"dispatches", "nanoseconds", "bytes", "flops"};

// What each kernel did between two states of a session.
void add_kernels(const char* phase, const nlohmann::json& after, const nlohmann::json& before, Times& times) {
  const auto add = [&](const nlohmann::json& kernel, double sign) {
    auto& sums = times.kernels[{phase, kernel.at("name").get<std::string>()}];
    for (const char* key : kernel_sums) sums[key] += sign * kernel.at(key).get<double>();
  };
  for (const auto& kernel : after.at("kernels")) add(kernel, 1);
  for (const auto& kernel : before.at("kernels")) add(kernel, -1);
}

Json counts(const nlohmann::json& after, const nlohmann::json& before, double tokens) {
  return {{"dispatches", difference(after, before, "dispatches") / tokens},
          {"submits", difference(after, before, "submits") / tokens},
          {"bytes_read_back", difference(after, before, "bytes_read_back") / tokens}};
}

// One repetition; returns the counts per token, of the prefill and of decoding.
Json measure(vkmoe_session* session, const std::vector<int32_t>& ids, const BenchOptions& options, Times& times) {
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
  const nlohmann::json end = session_stats(session);
  add_kernels("prefill", fed, start, times);
  add_kernels("decode", end, first, times);
  return {{"prefill", counts(fed, start, double(ids.size()))}, {"decode", counts(end, first, options.tokens)}};
}

// Rates of what took `nanoseconds`, and the share of the roofline: the least time that the device would need for so many
// bytes and operations, in relation to the time it took.
Json rates(Json kernel, const nlohmann::json& roofline) {
  const auto number = [&](const char* key) { return kernel.at(key).get<double>(); };
  const double seconds = number("nanoseconds") / 1e9;
  if (seconds <= 0) return kernel;  // a device without timestamps
  const double read = roofline.at("read_bytes_per_second"), flops = roofline.at("flops_per_second");
  kernel["gigabytes_per_second"] = number("bytes") / seconds / 1e9;
  kernel["gflops_per_second"] = number("flops") / seconds / 1e9;
  kernel["roofline_share"] = std::max(number("bytes") / read, number("flops") / flops) / seconds;
  return kernel;
}

// All kernels, slowest first, each phase after a row for all of it.
Json kernel_list(const Times& times, const nlohmann::json& roofline) {
  Json list = Json::array();
  for (const char* phase : {"prefill", "decode"}) {
    std::vector<Json> kernels;
    std::map<std::string, double> all;
    const auto row = [&](const std::string& name, const std::map<std::string, double>& sums) {
      Json made = {{"phase", phase}, {"name", name}};
      for (const char* key : kernel_sums) made[key] = sums.count(key) ? sums.at(key) : 0;
      return rates(std::move(made), roofline);
    };
    for (const auto& [key, sums] : times.kernels) {
      if (key.first != phase || sums.at("dispatches") == 0) continue;
      for (const auto& [name, value] : sums) all[name] += value;
      kernels.push_back(row(key.second, sums));
    }
    const auto time = [](const Json& kernel) { return kernel.at("nanoseconds").get<double>(); };
    std::sort(kernels.begin(), kernels.end(), [&](const Json& a, const Json& b) { return time(a) > time(b); });
    list.push_back(row("all", all));
    for (Json& kernel : kernels) list.push_back(std::move(kernel));
  }
  return list;
}

std::string padded(const std::string& text, size_t width) {
  return std::string(text.size() < width ? width - text.size() : 0, ' ') + text;
}

std::string kernel_table(const Json& result) {
  const Json& roofline = result.at("roofline");
  std::string text = "  roofline                          " + fixed(roofline.at("gigabytes_per_second").get<double>(), 2) +
                     " GB/s read, " + fixed(roofline.at("gflops_per_second").get<double>(), 1) + " GFLOP/s\n";
  for (const Json& kernel : result.at("kernels")) {
    const auto number = [&](const char* key, double scale, int digits) {
      return padded(kernel.contains(key) ? fixed(kernel.at(key).get<double>() * scale, digits) : "-", 10);
    };
    std::string name = kernel.at("name");
    if (name == "all")
      text += "  " + kernel.at("phase").get<std::string>() +
              std::string(kernel.at("phase") == "decode" ? 1 : 0, ' ') +
              "                                 dispatches        ms      GB/s   GFLOP/s  roofline\n";
    text += "    " + name + std::string(name.size() < 38 ? 38 - name.size() : 1, ' ') + number("dispatches", 1, 0) +
            number("nanoseconds", 1e-6, 2) + number("gigabytes_per_second", 1, 2) + number("gflops_per_second", 1, 2) +
            number("roofline_share", 100, 1) + " %\n";
  }
  return text;
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
  if (result.contains("kernels")) text += kernel_table(result);
  print(text);
}

void bench(const BenchOptions& options) {
  const uint32_t prompt_tokens = options.prompt_tokens ? options.prompt_tokens : BenchOptions::default_prompt;
  const LoadedModel loaded = load_model(options);
  const std::string path = model_path(options.model);
  char* text = nullptr;
  check(vkmoe_inspect_json(path.c_str(), options.context_tokens, &text));
  const double bytes_per_token = take_json(text).at("bytes_per_decoded_token").get<double>();

  const Session session = open_session(loaded.model.get(), options, options.profile);
  check_fits(session.get(), size_t(prompt_tokens) + options.tokens + 1,
             "the prompt (-p) with the answer (-n)");
  const std::vector<int32_t> ids = random_ids(prompt_tokens, vkmoe_model_vocab_size(loaded.model.get()));
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
                 {"prompt_tokens", prompt_tokens},
                 {"tokens", options.tokens},
                 {"repetitions", options.repetitions},
                 {"load_seconds", loaded.load_seconds},
                 {"first_token_seconds", median(times.first_token)},
                 {"prefill_tokens_per_second", median(times.prefill)},
                 {"decode_tokens_per_second", decode_rate},
                 {"bytes_per_token", bytes_per_token},
                 {"gigabytes_per_second", bytes_per_token * decode_rate / 1e9},
                 {"per_token", per_token},
                 {"tuning", stats.value("tuning", nlohmann::json())},
                 {"device_bytes", stats.at("device_bytes")},
                 {"peak_device_bytes", stats.at("peak_device_bytes")}};
  if (options.profile && loaded.device) {
    char* measured = nullptr;
    check(vkmoe_device_roofline_json(loaded.device.get(), &measured));
    const nlohmann::json roofline = take_json(measured);
    result["roofline"] = {{"gigabytes_per_second", roofline.at("read_bytes_per_second").get<double>() / 1e9},
                          {"gflops_per_second", roofline.at("flops_per_second").get<double>() / 1e9}};
    result["kernels"] = kernel_list(times, roofline);
  }
  if (options.json)
    print_json(result);
  else
    print_table(result);
}

}  // namespace

void add_bench(CLI::App& program) {
  CLI::App* app = program.add_subcommand("bench", "Measures prefill and decode speed, and what a token costs");
  auto options = std::make_shared<BenchOptions>();
  add_run_options(*app, *options);
  app->add_option("-p,--prompt", options->prompt_tokens,
                  "prompt tokens (default: 128); with --sweep the most (default: 2048, or what the context holds)")
      ->check(CLI::PositiveNumber);
  app->add_option("-n,--tokens", options->tokens, "tokens to decode")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("-r,--repetitions", options->repetitions, "the median of so many runs is shown, with --sweep the fastest")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  CLI::Option* sweep_file = app->add_option("--sweep", options->sweep,
                                            "measure prefill over the length of the prompt, decoding over that of the "
                                            "context and passes of 1 to 64 tokens, and write a JSON object to this file");
  app->add_option("--plot", options->plot, "draw the sweep as a PNG, too")->needs(sweep_file);
  app->add_flag("--profile", options->profile, "time every kernel, beside what the device reaches at best (slows the run down)")
      ->excludes(sweep_file);
  app->add_flag("--json", options->json, "print a JSON object");
  app->callback([options] { options->sweep.empty() ? bench(*options) : sweep(*options); });
}
