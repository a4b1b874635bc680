#include "check.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/numeric.h"

namespace vkmoe::conformance {
namespace {

constexpr size_t guard_bytes = 256;  // a multiple of every alignment that Vulkan allows a device to ask for
constexpr uint32_t poison = 0x7fc0cb1d;  // a NaN

}  // namespace

BufferView Check::make(const void* bytes, size_t count, size_t payload_bytes, const std::string& name) {
  Slot slot{{}, name, payload_bytes, {}, {}};
  slot.begin.resize(round_up(payload_bytes, 16) + 2 * guard_bytes);
  for (size_t at = 0; at < slot.begin.size(); at += 4) std::memcpy(&slot.begin[at], &poison, 4);
  if (count) std::memcpy(&slot.begin[guard_bytes], bytes, count);
  slot.now = slot.begin;
  slot.buffer = device_.create_buffer(slot.begin.size(), MemoryUse::device, name);
  slots_.push_back(slot);
  return BufferView(slot.buffer, guard_bytes);
}

Rows Check::input_rows(const std::vector<float>& values, uint32_t k, const std::string& name) {
  uint32_t stride = row_stride(k);
  std::vector<float> padded(values.size() / k * stride, 0.0f);
  for (size_t r = 0; r * k < values.size(); ++r) std::copy_n(&values[r * k], k, &padded[r * stride]);
  return {input(padded, name), stride};
}

Rows Check::output_rows(uint32_t n, uint32_t k, const std::string& name) {
  return {output(size_t(n) * row_stride(k), name), row_stride(k)};
}

void Check::run(const Tuning& tuning, const std::function<void(Recorder&)>& body) {
  Recording recording(device_, "conformance");
  Recorder recorder{device_, recording, tuning};
  body(recorder);
  recording.end();
  double best = std::numeric_limits<double>::infinity();
  for (uint32_t round = 0; round < std::max(repeat_, 1u); ++round) {
    for (const Slot& slot : slots_) device_.upload(slot.buffer, 0, slot.begin.data(), slot.begin.size());
    device_.wait_idle();
    auto start = std::chrono::steady_clock::now();
    device_.wait(device_.submit({&recording}));
    best = std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    for (Slot& slot : slots_) {
      std::vector<uint8_t> found(slot.begin.size());
      device_.read_back(slot.buffer, 0, found.data(), found.size());
      check_slot(slot, found, round == 0);
      slot.now = std::move(found);
    }
  }
  milliseconds_ += best;
}

void Check::check_slot(const Slot& slot, const std::vector<uint8_t>& found, bool first) const {
  size_t end = guard_bytes + slot.payload_bytes;
  for (size_t at = 0; at < found.size(); at += 4) {
    bool guard = at < guard_bytes || at >= end;
    if (guard && std::memcmp(&found[at], &slot.begin[at], 4) != 0)
      throw Mismatch(cat(slot.name, ": written at byte ", int64_t(at) - int64_t(guard_bytes), ", outside of its ",
                         slot.payload_bytes, " bytes"));
    if (!guard && !first && std::memcmp(&found[at], &slot.now[at], 4) != 0)
      throw Mismatch(cat(slot.name, ": other bits at byte ", at - guard_bytes, " when the same work ran again"));
  }
}

const Check::Slot& Check::slot_of(const BufferView& view) const {
  for (const Slot& slot : slots_)
    if (slot.buffer.impl_ == view.buffer.impl_) return slot;
  fail(VKMOE_ERROR_INTERNAL, "a case reads a buffer that is none of its own");
}

const uint8_t* Check::payload(const BufferView& view, size_t bytes) const {
  const Slot& slot = slot_of(view);
  if (bytes > slot.payload_bytes)
    fail(VKMOE_ERROR_INTERNAL, slot.name, ": a case reads ", bytes, " of ", slot.payload_bytes, " bytes");
  return &slot.now[guard_bytes];
}

std::vector<float> Check::read_rows(const Rows& rows, uint32_t n, uint32_t k) const {
  std::vector<float> all = read<float>(rows.view, size_t(n) * rows.stride), values;
  for (uint32_t r = 0; r < n; ++r) values.insert(values.end(), &all[r * rows.stride], &all[r * rows.stride] + k);
  return values;
}

void Check::padding_untouched(const Rows& rows, uint32_t n, uint32_t k) const {
  const Slot& slot = slot_of(rows.view);
  for (size_t i = 0; i < size_t(n) * rows.stride; ++i) {
    size_t at = guard_bytes + i * 4;
    if (i % rows.stride >= k && std::memcmp(&slot.now[at], &slot.begin[at], 4) != 0)
      throw Mismatch(cat(slot.name, ": row ", i / rows.stride, " is written at column ", i % rows.stride, " of ", k));
  }
}

void Check::same_size(const std::string& what, size_t got, size_t want) const {
  if (got != want) throw Mismatch(cat(what, ": expected ", want, " values, found ", got));
}

void Check::close(const std::string& what, const std::vector<float>& got, const std::vector<double>& want,
                  const std::vector<double>& bound) {
  same_size(what, got.size(), want.size());
  same_size(what, bound.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    double error = std::abs(double(got[i]) - want[i]), allowed = bound[i] + smallest;
    if (bound_ == 0 || error * bound_ > error_ * allowed) {
      error_ = error;
      bound_ = allowed;
    }
    if (!(error <= allowed))
      throw Mismatch(cat(what, "[", i, "]: expected ", want[i], ", found ", got[i], ", off by ", error, " where ", allowed,
                         " is allowed"));
  }
}

}  // namespace vkmoe::conformance
