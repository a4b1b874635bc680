// What a case of vkmoe-conformance works with: guarded buffers, runs that are repeated and compared bit for bit, and
// comparisons against a reference with a derived bound.
#pragma once
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "moe/ops/ops.h"

namespace vkmoe::conformance {

// Thrown by a check that does not hold; what() says what was expected and what was found.
struct Mismatch : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Thrown where the device cannot run a variant; what() says why.
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Unit roundoff of float32, and what Vulkan promises for exp: 3 + 2|x| units in the last place ("Precision and Operation
// of SPIR-V Instructions"), as a relative error.
constexpr double half_ulp = 0x1p-24;
inline double exp_error(double x) { return (3 + 2 * std::abs(x)) * 0x1p-23; }
// Results this small may be flushed to zero.
constexpr double smallest = 0x1p-126;

class Check {
 public:
  // seed: of `random`; repeat: how often every run is made.
  Check(Device& device, uint32_t seed, uint32_t repeat) : random(seed), device_(device), repeat_(repeat) {}

  std::mt19937 random;
  Device& device() const { return device_; }
  const Caps& caps() const { return device_.caps(); }

  // Buffers of a run. Before each run they hold what is given here, or NaN; behind them (and inside of the view) lies a
  // guard that no kernel may write to.
  template <class T>
  BufferView input(const std::vector<T>& values, const std::string& name = "input") {
    return make(values.data(), values.size() * sizeof(T), values.size() * sizeof(T), name);
  }
  BufferView output(size_t words, const std::string& name = "output") { return make(nullptr, 0, words * 4, name); }

  // Rows of k values with the padding that kernels expect: zeros in what they read, NaN in what they write.
  Rows input_rows(const std::vector<float>& values, uint32_t k, const std::string& name = "x");
  Rows output_rows(uint32_t n, uint32_t k, const std::string& name = "y");

  // Records, submits and waits, `repeat` times from the same beginning; every buffer must end with the same bits.
  void run(const Tuning& tuning, const std::function<void(Recorder&)>& body);

  // What a buffer holds after the latest run (before the first: its beginning).
  template <class T>
  std::vector<T> read(const BufferView& view, size_t n, size_t first = 0) const {
    std::vector<T> values(n);
    std::memcpy(values.data(), payload(view, (first + n) * sizeof(T)) + first * sizeof(T), n * sizeof(T));
    return values;
  }
  std::vector<float> read_rows(const Rows& rows, uint32_t n, uint32_t k) const;
  // The rows' padding still is what it was: kernels rely on zeros there.
  void padding_untouched(const Rows& rows, uint32_t n, uint32_t k) const;

  // |got - want| <= bound, one by one.
  void close(const std::string& what, const std::vector<float>& got, const std::vector<double>& want,
             const std::vector<double>& bound);

  template <class T>
  void equal(const std::string& what, const std::vector<T>& got, const std::vector<T>& want) {
    same_size(what, got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) {
      if (std::memcmp(&got[i], &want[i], sizeof(T)) != 0)
        throw Mismatch(cat(what, "[", i, "]: expected ", want[i], ", found ", got[i]));
    }
    exact_ += got.size();
  }

  template <class... Parts>
  void that(bool holds, const Parts&... parts) {
    if (!holds) throw Mismatch(cat(parts...));
    ++exact_;
  }

  // Of the comparison that came nearest to its bound (or went furthest beyond).
  double worst_error() const { return error_; }
  double worst_bound() const { return bound_; }
  uint64_t exact_comparisons() const { return exact_; }
  double milliseconds() const { return milliseconds_; }  // between submission and completion, the fastest of each run's repetitions

 private:
  struct Slot {
    Buffer buffer;
    std::string name;
    size_t payload_bytes;
    std::vector<uint8_t> begin, now;  // guard, payload, guard
  };
  BufferView make(const void* bytes, size_t count, size_t payload_bytes, const std::string& name);
  const Slot& slot_of(const BufferView& view) const;
  const uint8_t* payload(const BufferView& view, size_t bytes) const;
  void check_slot(const Slot& slot, const std::vector<uint8_t>& found, bool first) const;
  void same_size(const std::string& what, size_t got, size_t want) const;

  Device& device_;
  uint32_t repeat_;
  std::vector<Slot> slots_;
  double error_ = 0, bound_ = 0;
  uint64_t exact_ = 0;
  double milliseconds_ = 0;
};

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * 4) == 0;
}

}  // namespace vkmoe::conformance
