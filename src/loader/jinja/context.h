// The limits and error reports of one rendering. Every string and container that a template makes is counted here,
// so that no template hangs, overflows the stack or exhausts memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <ctime>

#include "base/error.h"

namespace vkmoe::jinja {

class Context {
 public:
  static constexpr uint64_t kMaxSteps = 50'000'000;
  static constexpr size_t kMaxLiveBytes = size_t(256) << 20;
  static constexpr size_t kMaxTextBytes = size_t(16) << 20;  // of one string
  static constexpr size_t kMaxSourceBytes = size_t(1) << 20;
  static constexpr int kMaxDepth = 600;    // nested evaluations
  static constexpr int kMaxNesting = 100;  // containers within containers

  int line = 1;   // of the construct that is being parsed or evaluated
  std::tm now{};  // what strftime_now formats

  void spend(uint64_t steps) {
    if (steps > kMaxSteps - steps_) error("more than ", kMaxSteps, " steps; the template does not seem to end");
    steps_ += steps;
  }
  void spend_bytes(size_t bytes) { spend(bytes / 16 + 1); }

  void allocate(size_t bytes) {
    if (bytes > kMaxLiveBytes - live_bytes_) error("the template needs more than ", kMaxLiveBytes, " bytes");
    live_bytes_ += bytes;
  }
  void check_text(size_t bytes) const {
    if (bytes > kMaxTextBytes) error("a text is longer than ", kMaxTextBytes, " bytes");
  }
  // Before a container is built that will be counted when it is done.
  void check_items(uint64_t count, size_t item_bytes) const {
    if (count > (kMaxLiveBytes - live_bytes_) / item_bytes)
      error("the template needs more than ", kMaxLiveBytes, " bytes");
  }
  void release(size_t bytes) { live_bytes_ -= bytes; }

  // What Python would raise for: wrong types, undefined values, a wrong number of arguments.
  template <class... Parts>
  [[noreturn]] void error(const Parts&... parts) const {
    fail(VKMOE_ERROR_INVALID_ARGUMENT, "chat template line ", line, ": ", parts...);
  }
  // What is not valid Jinja, or not known here.
  template <class... Parts>
  [[noreturn]] void unsupported(const Parts&... parts) const {
    fail(VKMOE_ERROR_UNSUPPORTED, "chat template line ", line, ": ", parts...);
  }

 private:
  friend class Depth;
  uint64_t steps_ = 0;
  size_t live_bytes_ = 0;
  int depth_ = 0;
};

// One level of recursion while it lives.
class Depth {
 public:
  explicit Depth(Context& cx) : cx_(cx) {
    if (cx.depth_ >= Context::kMaxDepth) cx.error("nested too deeply");
    ++cx.depth_;
  }
  ~Depth() { --cx_.depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  Context& cx_;
};

// Memory that counts against the limit while it lives.
class Counted {
 public:
  Counted(Context& cx, size_t bytes) : cx_(cx), bytes_(bytes) { cx.allocate(bytes); }
  ~Counted() { cx_.release(bytes_); }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 protected:
  void grow(size_t bytes) {
    cx_.allocate(bytes);
    bytes_ += bytes;
  }
  Context& cx_;

 private:
  size_t bytes_;
};

// A string that is being built.
class TextBuilder : Counted {
 public:
  explicit TextBuilder(Context& cx) : Counted(cx, 0) {}
  void append(std::string_view part) {
    cx_.check_text(text_.size() + part.size());
    cx_.spend_bytes(part.size());
    grow(part.size());
    text_ += part;
  }
  void repeat(std::string_view part, int64_t times) {
    if (part.empty()) return;
    for (int64_t i = 0; i < times; ++i) append(part);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace vkmoe::jinja
