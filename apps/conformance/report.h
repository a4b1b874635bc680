// The results of a run as JSON, as lines and as a self-contained HTML page that compares devices.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace vkmoe::conformance {

// A report: {"program", "version", "set", "seed", "repeat", "seconds", "device": {...}, "cases": [{"kernel", "variant",
// "shape", "status": "passed" | "failed" | "skipped", "error", "bound", "exact", "milliseconds", "message", "command"}]}.
using Report = nlohmann::ordered_json;

struct Tally {
  int passed = 0, failed = 0, skipped = 0;
  double worst = 0;  // error / bound of the case that came nearest to its bound
  double milliseconds = 0;
  void add(const Report& result);
};

// "embed       78 passed                worst 0.31 of its bound     41.2 ms"
std::string kernel_line(const std::string& kernel, const Tally& tally);

// Reads a report that --json wrote. Throws Failure naming the file where it is none.
Report read_report(const std::string& path);

std::string html_page(const std::vector<Report>& reports);

}  // namespace vkmoe::conformance
