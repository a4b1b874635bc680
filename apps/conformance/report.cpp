#include "report.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "output.h"

namespace vkmoe::conformance {
namespace {

std::string escape(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

double ratio(const Report& result) {
  double bound = result.at("bound").get<double>();
  return bound > 0 ? result.at("error").get<double>() / bound : 0;
}

std::string scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", value);
  return text;
}

// A little square for one case: green, yellower the nearer to its bound; red; grey.
std::string square(const Report& result) {
  std::string status = result.at("status"), color = "#9aa4ad";
  if (status == "failed") color = "#d3222a";
  if (status == "passed") color = cat("hsl(", int(145 - 85 * std::min(ratio(result), 1.0)), ",55%,45%)");
  std::string title = cat(result.at("variant").get<std::string>(), "\n", result.at("shape").get<std::string>(), "\n", status);
  if (double bound = result.at("bound"); bound > 0)
    title += cat(", error ", scientific(result.at("error")), " of ", scientific(bound));
  title += cat(", ", fixed(result.at("milliseconds"), 1), " ms");
  if (std::string message = result.at("message"); !message.empty()) title += "\n" + message;
  return cat(status == "failed" ? "<i class=bad style=\"background:" : "<i style=\"background:", color, "\" title=\"", escape(title), "\"></i>");
}

std::string duration(double milliseconds) {
  return milliseconds < 1000 ? fixed(milliseconds, 1) + " ms" : fixed(milliseconds / 1000, 1) + " s";
}

std::string cell(const Tally& t) {
  if (t.passed + t.failed + t.skipped == 0) return "<td class=none>not run</td>";
  const char* style = t.failed ? "bad" : t.passed ? "good" : "none";
  std::string text = t.failed ? cat(t.failed, " of ", t.failed + t.passed, " failed") : cat(t.passed, " passed");
  if (t.skipped) text += cat(", ", t.skipped, " cannot run");
  return cat("<td class=", style, "><b>", text, "</b><br>", t.worst > 0 ? "worst " + fixed(t.worst, 2) + " of its bound, " : "exact, ",
             duration(t.milliseconds), "</td>");
}

constexpr const char* style =
    "body{font:14px/1.4 system-ui,sans-serif;margin:2em auto;max-width:1500px;padding:0 1em;color:#1b2126;background:#fff}"
    "h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse}div.wide{overflow-x:auto}"
    "th,td{text-align:left;vertical-align:top;padding:.35em .7em;border:2px solid #fff}th{background:#eef1f3;font-weight:600}"
    "td.good{background:#cdebd3}td.bad{background:#f3b0ae}td.none{background:#e3e7ea;color:#4d565e}td.good,td.bad,td.none{min-width:9em}"
    "table.cases td{border:0;border-top:1px solid #e3e7ea;padding:.15em .7em}i{display:inline-block;width:11px;height:11px;margin:1px}"
    "summary{cursor:pointer;font-weight:600;padding:.2em 0}code{font-size:.92em;background:#eef1f3;padding:.1em .3em}li,table.cases td{overflow-wrap:anywhere}i.bad{outline:2px solid #1b2126}"
    "small{color:#4d565e;font-weight:400}li{margin:.4em 0}";

// Names in the order of their first appearance, over all reports.
std::vector<std::string> names(const std::vector<Report>& reports, const char* key, const std::string& kernel) {
  std::vector<std::string> found;
  for (const Report& report : reports) {
    for (const Report& result : report.at("cases")) {
      std::string name = result.at(key);
      if (!kernel.empty() && result.at("kernel") != kernel) continue;
      if (std::find(found.begin(), found.end(), name) == found.end()) found.push_back(name);
    }
  }
  return found;
}

std::string device_heads(const std::vector<Report>& reports) {
  std::string html;
  for (const Report& report : reports) {
    const Report& device = report.at("device");
    html += cat("<th>", escape(device.at("name")), "<br><small>", escape(device.at("driver")), "<br>", report.at("set").get<std::string>(),
                " set, seed ", report.at("seed").dump(), ", ", report.at("repeat").dump(), " runs each, ", fixed(report.at("seconds"), 0),
                " s</small></th>");
  }
  return html;
}

Tally tally_of(const Report& report, const std::string& kernel) {
  Tally tally;
  for (const Report& result : report.at("cases"))
    if (kernel.empty() || result.at("kernel") == kernel) tally.add(result);
  return tally;
}

std::string overview(const std::vector<Report>& reports, const std::vector<std::string>& kernels) {
  std::string html = cat("<div class=wide><table><tr><th>kernel</th>", device_heads(reports), "</tr>");
  auto row = [&](const std::string& title, const std::string& kernel) {  // "": all kernels
    html += cat("<tr><th>", escape(title), "</th>");
    for (const Report& report : reports) html += cell(tally_of(report, kernel));
    html += "</tr>";
  };
  row("all", "");
  for (const std::string& kernel : kernels) row(kernel, kernel);
  return html + "</table></div>";
}

std::string failures(const std::vector<Report>& reports) {
  std::string html;
  for (const Report& report : reports) {
    for (const Report& r : report.at("cases")) {
      if (r.at("status") != "failed") continue;
      html += cat("<li><b>", escape(report.at("device").at("name")), "</b>: ", escape(r.at("kernel")), "/", escape(r.at("variant")), "/",
                  escape(r.at("shape")), "<br>", escape(r.at("message")), "<br><code>", escape(r.at("command")), "</code></li>");
    }
  }
  return html.empty() ? "" : cat("<h2>Failures</h2><p>What was found, and the command that repeats the case.</p><ul>", html, "</ul>");
}

std::string details(const std::vector<Report>& reports, const std::string& kernel) {
  bool open = reports.size() == 1;  // of several, what failed somewhere
  for (const Report& report : reports) open = open || tally_of(report, kernel).failed > 0;
  std::string html = cat("<details", open ? " open" : "", "><summary>", escape(kernel),
                         "</summary><table class=cases>");
  if (reports.size() > 1) {
    html += "<tr><td></td>";
    for (const Report& report : reports) html += cat("<td><small>", escape(report.at("device").at("name")), "</small></td>");
    html += "</tr>";
  }
  for (const std::string& variant : names(reports, "variant", kernel)) {
    html += cat("<tr><td>", escape(variant), "</td>");
    for (const Report& report : reports) {
      html += "<td>";
      for (const Report& r : report.at("cases"))
        if (r.at("kernel") == kernel && r.at("variant") == variant) html += square(r);
      html += "</td>";
    }
    html += "</tr>";
  }
  return html + "</table></details>";
}

}  // namespace

void Tally::add(const Report& result) {
  std::string status = result.at("status");
  ++(status == "passed" ? passed : status == "failed" ? failed : skipped);
  if (status == "passed") worst = std::max(worst, ratio(result));
  milliseconds += result.at("milliseconds").get<double>();
}

std::string kernel_line(const std::string& kernel, const Tally& t) {
  char text[160];
  std::string counts = cat(t.passed, " passed", t.failed ? cat(", ", t.failed, " FAILED") : "", t.skipped ? cat(", ", t.skipped, " cannot run") : "");
  std::string worst = t.worst > 0 ? "worst " + fixed(t.worst, 2) + " of its bound" : "exact";
  std::snprintf(text, sizeof text, "%-13s %-40s %-24s %9.1f ms\n", kernel.c_str(), counts.c_str(), worst.c_str(), t.milliseconds);
  return text;
}

Report read_report(const std::string& path) {
  Report report = Report::parse(read_input(path), nullptr, false);
  try {
    if (report.at("program") != "vkmoe-conformance") throw Failure(path + ": no report of vkmoe-conformance");
    html_page({report});  // touches all that a page needs
  } catch (const nlohmann::json::exception& error) {
    throw Failure(path + ": no report of vkmoe-conformance: " + error.what());
  }
  return report;
}

std::string html_page(const std::vector<Report>& reports) {
  std::vector<std::string> kernels = names(reports, "kernel", "");
  std::string html = cat("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>vkmoe conformance</title><style>", style,
                         "</style><h1>vkmoe conformance</h1><p>Each kernel against its CPU reference: errors beside the bound that "
                         "follows from rounding, ids and repetitions bit for bit. Worst: the largest error as a part of its bound; beyond "
                         "1 a case fails. Exact: nothing was rounded. Times are those of the device's work, not of compilation.</p>",
                         overview(reports, kernels), failures(reports),
                         "<h2>Cases</h2><p>A square is a shape of a variant: green, yellower the nearer its error is to the bound; "
                         "red where it failed; grey where the device cannot run the variant.</p>");
  for (const std::string& kernel : kernels) html += details(reports, kernel);
  return html + "</html>\n";
}

}  // namespace vkmoe::conformance
