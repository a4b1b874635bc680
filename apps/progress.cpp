#include "progress.h"

#include <algorithm>
#include <cstdio>

#ifdef _WIN32
#include <io.h>
#define isatty _isatty
#else
#include <unistd.h>
#endif

ProgressBar::ProgressBar(std::string label) : label_(std::move(label)), terminal_(isatty(2)) {}

void ProgressBar::update(double fraction, const std::string& note) {
  const double now = watch_.seconds();
  if (!terminal_ || now < 0.5 || now - last_ < 0.1) return;
  last_ = now;
  shown_ = true;
  constexpr int width = 30;
  const int filled = int(std::clamp(fraction, 0.0, 1.0) * width);
  std::fprintf(stderr, "\r\033[K%s [%s%s] %3.0f%% %s", label_.c_str(), std::string(size_t(filled), '#').c_str(),
               std::string(size_t(width - filled), '.').c_str(), fraction * 100, note.c_str());
  std::fflush(stderr);
}

void ProgressBar::clear() {
  if (shown_) std::fprintf(stderr, "\r\033[K");
  shown_ = false;
}
