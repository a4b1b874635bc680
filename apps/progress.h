// How far long work is, on a terminal.
#pragma once
#include <chrono>
#include <string>

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

// A bar on standard error, shown only on a terminal and only for work of more than half a second.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar() { clear(); }
  void update(double fraction, const std::string& note = "");
  void clear();

 private:
  std::string label_;
  Stopwatch watch_;
  double last_ = 0;
  bool terminal_, shown_ = false;
};
