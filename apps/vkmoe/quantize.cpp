// vkmoe quantize: writes a model as a GGUF with the weight types asked for.
#include <atomic>
#include <csignal>

#include "commands.h"
#include "common.h"

namespace {

struct Options {
  std::string in, out, type, experts, shared, attention;
  bool keep_router = false, json = false;
};

std::atomic<bool> interrupted{false};

// A second one ends the program at once.
void on_interrupt(int number) {
  interrupted = true;
  std::signal(number, SIG_DFL);
}

// Signals that ask the program to end: what is half written goes.
constexpr int end_signals[] = {SIGINT, SIGTERM,
#ifdef SIGHUP
                               SIGHUP
#endif
};

void quantize(const Options& options) {
  vkmoe_quantize_options quantize;
  vkmoe_quantize_options_init(&quantize);
  quantize.type = options.type.c_str();
  quantize.experts = options.experts.c_str();
  quantize.shared = options.shared.c_str();
  quantize.attention = options.attention.c_str();
  quantize.keep_router = options.keep_router;
  ProgressBar bar("quantizes");
  quantize.progress_user = &bar;
  quantize.progress = [](void* user, uint64_t done, uint64_t total) {
    static_cast<ProgressBar*>(user)->update(double(done) / double(std::max<uint64_t>(total, 1)));
    return int(interrupted);
  };
  for (int number : end_signals) std::signal(number, on_interrupt);
  Stopwatch watch;
  char* text = nullptr;
  const vkmoe_status status = vkmoe_quantize(options.in.c_str(), options.out.c_str(), &quantize, &text);
  for (int number : end_signals) std::signal(number, SIG_DFL);
  bar.clear();
  if (status == VKMOE_ERROR_CANCELLED) throw Interrupted();
  check(status);
  const nlohmann::json report = take_json(text);
  if (options.json) return print_json(report);
  for (const auto& line : report.at("notes")) print(line.get<std::string>() + "\n");
  print(options.out + ": " + bytes_text(report.at("written_bytes").get<double>()) + " of weights that took " +
        bytes_text(report.at("source_bytes").get<double>()) + ", in " + fixed(watch.seconds(), 1) + " s\n");
}

}  // namespace

void add_quantize(CLI::App& program) {
  CLI::App* app = program.add_subcommand("quantize", "Writes a model as a GGUF with smaller weight types");
  auto options = std::make_shared<Options>();
  app->add_option("IN", options->in, "GGUF file or Hugging Face folder")->required();
  app->add_option("OUT", options->out, "the GGUF to write")->required();
  app->add_option("-t,--type", options->type, "weight type, such as Q8_0, Q4_K, IQ4_XS, MXFP4, BF16")->required();
  app->add_option("--experts", options->experts, "weight type of the experts alone");
  app->add_option("--shared", options->shared, "weight type of the shared experts alone");
  app->add_option("--attention", options->attention, "weight type of attention alone");
  app->add_flag("--keep-router", options->keep_router, "the router's weight type as in IN (default: F32)");
  app->add_flag("--json", options->json, "print a JSON object");
  app->callback([options] { quantize(*options); });
}
