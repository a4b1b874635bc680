// vkmoe perplexity: how well a model predicts a text.
#include <algorithm>
#include <cmath>

#include "commands.h"
#include "common.h"

namespace {

struct Options : RunOptions {
  std::string text_path;
  bool json = false, routing = false;
};

constexpr uint32_t default_window_tokens = 512;
constexpr size_t piece_tokens = 128;  // logits of this many tokens are held at a time

// -log softmax(logits)[id]
double negative_log_likelihood(const float* logits, uint32_t vocab_size, int32_t id) {
  const double most = *std::max_element(logits, logits + vocab_size);
  double sum = 0;
  for (uint32_t i = 0; i < vocab_size; ++i) sum += std::exp(double(logits[i]) - most);
  return std::log(sum) + most - double(logits[id]);
}

// Sum over the window's ids but the first, which is context only.
double window_nll(vkmoe_session* session, const int32_t* ids, size_t count, std::vector<float>& logits,
                  uint32_t vocab_size) {
  check(vkmoe_session_rewind(session, 0));
  double nll = 0;
  for (size_t first = 0; first < count; first += piece_tokens) {
    const size_t piece = std::min(piece_tokens, count - first);
    check(vkmoe_session_feed_logits(session, ids + first, piece, logits.data()));
    for (size_t i = 0; i < piece && first + i + 1 < count; ++i) {
      nll += negative_log_likelihood(logits.data() + i * vocab_size, vocab_size, ids[first + i + 1]);
    }
  }
  return nll;
}

// A line for each layer with experts; the lists stand in the JSON alone.
std::string routing_table(const nlohmann::json& layers) {
  std::string text = "layer  busiest  idlest  load entropy  router entropy  balance loss  z-loss  dropped\n";
  for (const auto& layer : layers) {
    const std::vector<double> load = layer.at("load");
    char line[160];
    auto number = [&](const char* key) { return layer.at(key).get<double>(); };
    std::snprintf(line, sizeof line, "%5d  %6.2f%%  %5.2f%%  %12.3f  %14.3f  %12.3f  %6.3f  %6.2f%%\n", layer.at("layer").get<int>(),
                  100 * *std::max_element(load.begin(), load.end()), 100 * *std::min_element(load.begin(), load.end()),
                  number("load_entropy"), number("router_entropy"), number("load_balance_loss"), number("z_loss"),
                  100 * number("fraction_dropped"));
    text += line;
  }
  return text;
}

void perplexity(Options& options) {
  const std::string text = read_input(options.text_path);
  const LoadedModel loaded = load_model(options);
  const vkmoe_model* model = loaded.model.get();
  const uint32_t longest = vkmoe_model_context_tokens(model);
  if (options.context_tokens == 0) options.context_tokens = std::min(default_window_tokens, longest);
  if (options.context_tokens > longest || options.context_tokens < 2) {
    throw Failure("--ctx is " + std::to_string(options.context_tokens) + ", expected 2 to the model's context of " +
                  std::to_string(longest) + " tokens");
  }
  const size_t window = options.context_tokens;
  const std::vector<int32_t> ids = tokenize(model, text, 0);
  if (ids.size() < 2)
    throw Failure(input_name(options.text_path) + ": has fewer than two tokens, nothing to predict");

  const Session session = open_session(loaded.model.get(), options, false, options.routing);
  const uint32_t vocab_size = vkmoe_model_vocab_size(model);
  std::vector<float> logits(size_t(vocab_size) * std::min(window, piece_tokens));
  ProgressBar bar("perplexity");
  Stopwatch watch;
  double nll = 0;
  size_t predicted = 0;
  for (size_t first = 0; first + 1 < ids.size(); first += window) {
    const size_t count = std::min(window, ids.size() - first);
    nll += window_nll(session.get(), ids.data() + first, count, logits, vocab_size);
    predicted += count - 1;
    if (!std::isfinite(nll))
      throw Failure("the logits in ids " + std::to_string(first) + " to " + std::to_string(first + count - 1) +
                    " are not finite");
    bar.update(double(first + count) / double(ids.size()),
               "perplexity so far " + fixed(std::exp(nll / double(predicted)), 4));
  }
  bar.clear();
  const double seconds = watch.seconds(), mean = nll / double(predicted);
  const nlohmann::json routing = options.routing ? session_stats(session.get()).at("routing") : nlohmann::json();
  if (options.json) {
    nlohmann::ordered_json result = {{"ids", ids.size()},
                {"predicted", predicted},
                {"perplexity", std::exp(mean)},
                {"nll", mean},
                {"window_tokens", window},
                {"seconds", seconds}};
    if (options.routing) result["routing"] = routing;
    print_json(result);
  } else {
    print("perplexity " + fixed(std::exp(mean), 4) + " (" + std::to_string(ids.size()) + " ids, " +
          std::to_string(predicted) + " predicted in windows of " + std::to_string(window) + ", " +
          fixed(seconds, 1) + " s)\n" + (options.routing ? routing_table(routing) : ""));
  }
}

}  // namespace

void add_perplexity(CLI::App& program) {
  CLI::App* app = program.add_subcommand("perplexity", "Measures how well a model predicts a text");
  auto options = std::make_shared<Options>();
  add_run_options(*app, *options, "-c,--ctx,--context");
  app->get_option("--ctx")->description(
      "tokens in a window, whose first is context only (default: 512, at most the model's)");
  app->add_option("-f,--file", options->text_path, "the text; - is standard input")->required();
  app->add_flag("--routing", options->routing, "also say how the layers' routers spread the tokens over their experts (slower)");
  app->add_flag("--json", options->json, "print a JSON object");
  app->callback([options] { perplexity(*options); });
}
