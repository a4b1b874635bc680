// vkmoe tune: measures workgroup shapes for a model on a device and stores the choice for the runs to come.
#include <atomic>
#include <csignal>

#include "commands.h"
#include "common.h"

namespace {

struct Options {
  std::string model, device;
  double seconds = 60;
  bool json = false;
};

std::atomic<bool> interrupted{false};

void on_interrupt(int) {
  interrupted = true;
  std::signal(SIGINT, SIG_DFL);  // a second one ends the program at once
}

void print_report(const nlohmann::json& report) {
  std::string text = report.at("device").get<std::string>() + "\n";
  for (const auto& pass : report.at("passes")) {
    const std::string name = pass.at("name");
    const double before = pass.at("built_in_tokens_per_second"), after = pass.at("tuned_tokens_per_second");
    text += "  " + name + std::string(name.size() < 12 ? 12 - name.size() : 1, ' ') + fixed(before, 2) + " tokens/s built in, " +
            fixed(after, 2) + " tuned\n";
  }
  size_t refused = 0;
  for (const auto& trial : report.at("trials")) {
    if (trial.contains("refused")) ++refused;
    if (trial.value("taken", false)) text += "  " + trial.at("pass").get<std::string>() + ": " + trial.at("variant").get<std::string>() + "\n";
  }
  text += std::to_string(report.at("trials").size()) + " variants tried, " + std::to_string(refused) + " refused; stored in " +
          report.at("stored").get<std::string>() + "\n";
  print(text);
}

void tune(const Options& options) {
  vkmoe_device* opened = nullptr;
  check(vkmoe_device_open(options.device.empty() ? nullptr : options.device.c_str(), &opened));
  const Device device(opened);
  vkmoe_tune_options tune;
  vkmoe_tune_options_init(&tune);
  tune.seconds = options.seconds;
  ProgressBar bar("tunes");
  tune.progress_user = &bar;
  tune.progress = [](void* user, uint64_t done, uint64_t total) {
    static_cast<ProgressBar*>(user)->update(double(done) / double(total));
    return int(interrupted);
  };
  std::signal(SIGINT, on_interrupt);
  char* text = nullptr;
  const vkmoe_status status = vkmoe_tune(device.get(), model_path(options.model).c_str(), &tune, &text);
  std::signal(SIGINT, SIG_DFL);
  bar.clear();
  if (status == VKMOE_ERROR_CANCELLED) throw Interrupted();
  check(status);
  const nlohmann::json report = take_json(text);
  options.json ? print_json(report) : print_report(report);
}

}  // namespace

void add_tune(CLI::App& program) {
  CLI::App* app = program.add_subcommand("tune", "Measures workgroup shapes for a model on a device, and stores the fastest");
  auto options = std::make_shared<Options>();
  add_model_option(*app, options->model);
  app->add_option("-d,--device", options->device, "index or part of the name of a device (see vkmoe devices)");
  app->add_option("-s,--seconds", options->seconds, "about so long variants are tried")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app->add_flag("--json", options->json, "print a JSON object with all variants and their speeds");
  app->callback([options] { tune(*options); });
}
