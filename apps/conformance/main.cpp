// vkmoe-conformance: runs every kernel, in every variant that a device can run, against its CPU reference; or joins the
// reports of several devices into one page.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "conformance/cases.h"
#include "conformance/report.h"
#include "output.h"
#include "progress.h"

namespace vkmoe::conformance {
namespace {

struct Options {
  std::string device, filter, json, html;
  uint32_t seed = 1, repeat = 2;
  bool quick = false, full = false, list = false, verbose = false, ignore_results = false;
  std::vector<std::string> reports;
};

// The set, or what the filter names: a case by its whole name, else every case whose name holds the text.
std::vector<Case> choose(const Options& options) {
  std::vector<Case> all = all_cases(), chosen;
  for (const Case& c : all)
    if (c.name() == options.filter) return {c};
  for (const Case& c : all)
    if ((c.quick || options.full) && c.name().find(options.filter) != std::string::npos) chosen.push_back(c);
  if (chosen.empty()) throw Failure("no case's name holds \"" + options.filter + "\" (see --list" + (options.full ? ")" : ", or add --full)"), 2);
  return chosen;
}

std::string quoted(const std::string& word) {
  if (word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=,+") == std::string::npos) return word;
  return "'" + word + "'";
}

std::string command_of(const Options& options, const Case& c) {
  std::string command = "vkmoe-conformance";
  if (!options.device.empty()) command += " --device " + quoted(options.device);
  return cat(command, " --seed ", options.seed, " --repeat ", options.repeat, " --filter ", quoted(c.name()));
}

// A case's numbers follow from the seed and its name alone (FNV-1a), whatever ran before it.
uint32_t seed_of(uint32_t seed, const std::string& name) {
  uint32_t hash = 2166136261u ^ seed;
  for (unsigned char c : name) hash = (hash ^ c) * 16777619u;
  return hash;
}

// Runs one case. lost: set when the device is, so that nothing can follow.
Report run_case(Device& device, const Options& options, const Case& c, bool* lost) {
  Check check(device, seed_of(options.seed, c.name()), options.repeat);
  std::string status = "passed", message;
  size_t messages = device.validation_messages().size();
  try {
    c.run(check);
  } catch (const Unsupported& reason) {
    status = "skipped";
    message = reason.what();
  } catch (const Mismatch& mismatch) {
    if (!options.ignore_results) status = "failed";
    message = mismatch.what();
  } catch (const Error& error) {
    status = "failed";
    message = error.what();
    *lost = error.status == VKMOE_ERROR_DEVICE_LOST;
  }
  std::vector<std::string> said = device.validation_messages();
  if (said.size() > messages && status != "failed") {
    status = "failed";
    message = said[messages];
  }
  Report result = {{"kernel", c.kernel}, {"variant", c.variant}, {"shape", c.shape}, {"status", status},
                   {"error", check.worst_error()}, {"bound", check.worst_bound()}, {"exact", check.exact_comparisons()},
                   {"milliseconds", check.milliseconds()}, {"message", message}, {"command", command_of(options, c)}};
  for (const char* key : {"error", "bound"})  // JSON has no infinity
    if (!std::isfinite(result[key].get<double>())) result[key] = std::numeric_limits<double>::max();
  return result;
}

void print_case(const Case& c, const Report& r, bool verbose) {
  std::string status = r["status"];
  if (status == "failed") {
    print(cat("FAILED  ", c.name(), "\n        ", r["message"].get<std::string>(), "\n        ", r["command"].get<std::string>(), "\n"));
  } else if (verbose) {
    char numbers[96];
    std::snprintf(numbers, sizeof numbers, "%9.2g of %-9.2g %8.2f ms  ", r["error"].get<double>(), r["bound"].get<double>(),
                  r["milliseconds"].get<double>());
    print(cat(status, " ", numbers, c.name(), status == "skipped" ? ": " + r["message"].get<std::string>() : "", "\n"));
  }
}

std::string summary(const Tally& t, bool results_ignored = false) {
  return cat(t.passed, results_ignored ? " ran, " : " passed, ", t.failed, " failed, ", t.skipped, " that the device cannot run");
}

Report run(const Options& options) {
  std::vector<Case> cases = choose(options);
  std::shared_ptr<Device> device = Device::open(options.device);
  const Caps& caps = device->caps();
  print(cat(caps.name, ", ", caps.driver, ": ", cases.size(), " cases, seed ", options.seed, "\n"));
  Report report = {{"program", "vkmoe-conformance"}, {"version", VKMOE_VERSION}, {"set", options.full ? "full" : "quick"},
                   {"seed", options.seed}, {"repeat", options.repeat}, {"seconds", 0.0},
                   {"device", {{"name", caps.name}, {"driver", caps.driver}, {"type", caps.type}}}, {"cases", Report::array()}};
  Stopwatch watch;
  ProgressBar bar("conformance");
  Buffer any = device->create_buffer(16, MemoryUse::device, "any");  // keeps memory, that not each case asks the driver for it
  Tally all, kernel;
  bool lost = false;
  for (size_t i = 0; i < cases.size() && !lost; ++i) {
    bar.update(double(i) / double(cases.size()), cases[i].kernel + "/" + cases[i].variant);
    Report result = run_case(*device, options, cases[i], &lost);
    bool ends_kernel = lost || i + 1 == cases.size() || cases[i + 1].kernel != cases[i].kernel;
    if (options.verbose || result["status"] == "failed" || ends_kernel) bar.clear();
    print_case(cases[i], result, options.verbose);
    all.add(result);
    kernel.add(result);
    report["cases"].push_back(std::move(result));
    if (ends_kernel) {
      if (!options.ignore_results) print(kernel_line(cases[i].kernel, kernel));
      kernel = {};
    }
  }
  report["seconds"] = watch.seconds();
  print(cat(summary(all, options.ignore_results), ", in ", fixed(report["seconds"], 1), " s",
            lost ? "; the device was lost, the rest was not run" : "", options.ignore_results ? "; results were ignored" : "", "\n"));
  return report;
}

int work(const Options& options) {
  if (options.list) {
    for (const Case& c : choose(options)) print(c.name() + "\n");
    return 0;
  }
  for (const std::string& path : {options.json, options.html})
    if (!path.empty()) check_writable(path);
  std::vector<Report> reports;
  for (const std::string& path : options.reports) {
    reports.push_back(read_report(path));
    Tally all;
    for (const Report& result : reports.back().at("cases")) all.add(result);
    print(cat(path, ": ", reports.back().at("device").at("name").get<std::string>(), ", ", summary(all), "\n"));
  }
  if (reports.empty()) reports.push_back(run(options));
  if (!options.json.empty()) {
    if (reports.size() > 1) throw Failure("--json writes one report, not " + std::to_string(reports.size()), 2);
    write_file(options.json, {reports[0].dump(1) + "\n"});
  }
  if (!options.html.empty()) write_file(options.html, {html_page(reports)});
  for (const Report& report : reports)
    for (const Report& result : report.at("cases"))
      if (result.at("status") == "failed") return 1;
  return 0;
}

int report_failure(std::string message, int exit_code) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::fprintf(stderr, "vkmoe-conformance: %s\n", message.c_str());
  return exit_code;
}

}  // namespace
}  // namespace vkmoe::conformance

int main(int argc, char** argv) {
  using namespace vkmoe::conformance;
  Options options;
  CLI::App program("Tells whether each of vkmoe's kernels is right on a Vulkan device: exit code 0 if all cases pass, 1 if one fails.",
                   "vkmoe-conformance");
  program.set_version_flag("--version", VKMOE_VERSION);
  program.add_option("-d,--device", options.device, "index or a part of the name, see vkmoe devices (default: $VKMOE_DEVICE, else the best)")
      ->envname("VKMOE_DEVICE");
  program.add_option("-f,--filter", options.filter, "only cases whose kernel/variant/shape holds this; a whole name runs just that case");
  program.add_option("--seed", options.seed, "of the cases' numbers")->capture_default_str();
  program.add_option("--repeat", options.repeat, "runs of each dispatch, which must agree bit for bit")->check(CLI::Range(1u, 1000u))->capture_default_str();
  auto* quick = program.add_flag("--quick", options.quick, "the quick set (default)");
  program.add_flag("--full", options.full, "every case")->excludes(quick);
  program.add_flag("--list", options.list, "print the names of the cases and stop");
  program.add_flag("-v,--verbose", options.verbose, "print every case, with its worst error, bound and time");
  auto* json = program.add_option("--json", options.json, "write the report to this file");
  auto* html = program.add_option("--html", options.html, "write a page to look at to this file");
  program.add_flag("--ignore-results", options.ignore_results, "only compile, record and submit: for drivers with no GPU, which compute nothing")
      ->excludes(json)->excludes(html);
  program.add_option("reports", options.reports, "reports of --json: their counts, and the page of --html over all of them; nothing is run");
  try {
    program.parse(argc, argv);
    return work(options);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return program.exit(error);
    return report_failure(vkmoe::cat(error.what(), " (see vkmoe-conformance --help)"), 2);
  } catch (const Failure& failure) {
    return report_failure(failure.what(), failure.exit_code);
  } catch (const OutputClosed&) {
    return 0;
  } catch (const std::exception& error) {
    return report_failure(error.what(), 1);
  }
}
