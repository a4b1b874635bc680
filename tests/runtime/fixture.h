// What the runtime's tests share: a device, the test kernels, and a check that the validation layer is silent.
#pragma once
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/device.h"
#include "runtime/kernel.h"
#include "runtime/recording.h"

namespace vkmoe {

const std::vector<KernelBinary>& test_kernels();

namespace test {

inline const KernelBinary& binary(const std::string& name) {
  for (const KernelBinary& kernel : test_kernels()) {
    if (kernel.name == name) return kernel;
  }
  throw std::runtime_error("no test kernel " + name);
}

// A device for one test case; new messages of the validation layer at its end fail the case.
struct Session {
  std::shared_ptr<Device> device = Device::open("");
  ~Session() {
    device->wait_idle();
    static size_t seen = 0;
    std::vector<std::string> messages = device->validation_messages();
    for (; seen < messages.size(); seen++) FAIL_CHECK(messages[seen]);
  }
  Device* operator->() { return device.get(); }

  Buffer words(const std::vector<uint32_t>& values, const std::string& name) {
    Buffer buffer = device->create_buffer(values.size() * 4, MemoryUse::device, name);
    device->upload(buffer, 0, values.data(), values.size() * 4);
    return buffer;
  }
  std::vector<uint32_t> read(const Buffer& buffer, size_t count) {
    std::vector<uint32_t> values(count);
    device->read_back(buffer, 0, values.data(), count * 4);
    return values;
  }
};

// Sets an environment variable for one scope.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old, had_ = true;
    setenv(name, value.c_str(), 1);
  }
  ~Environment() {
    if (had_) setenv(name_, old_.c_str(), 1);
    else unsetenv(name_);
  }

 private:
  const char* name_;
  std::string old_;
  bool had_ = false;
};

// Status and message of the Error that f throws; VKMOE_OK and "" when it throws none.
template <class F>
std::pair<vkmoe_status, std::string> error_of(const F& f) {
  try {
    f();
  } catch (const Error& e) {
    return {e.status, e.what()};
  }
  return {VKMOE_OK, ""};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace test
}  // namespace vkmoe
