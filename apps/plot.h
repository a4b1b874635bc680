// Line plots as a PNG, for what vkmoe bench measures.
#pragma once
#include <string>
#include <utility>
#include <vector>

struct Panel {
  std::string title, x_label;                      // title says what y is
  std::vector<std::pair<double, double>> points;  // ascending x; y from 0
  bool log_x = false;                              // then x is at least 1
};

// The bytes of a PNG with the panels side by side under a heading. ASCII; other characters are left out.
std::string plot_png(const std::string& heading, const std::vector<Panel>& panels);
