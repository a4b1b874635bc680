// The one error type of the library: a status of the public API and a line for the user.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

#include "vkmoe/vkmoe.h"

namespace vkmoe {

struct Error : std::runtime_error {
  vkmoe_status status;
  Error(vkmoe_status status, const std::string& message) : std::runtime_error(message), status(status) {}
};

// The parts, written one after the other with operator<<.
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// Throws Error. The message names the file, tensor or key, what was expected and what was found.
template <class... Parts>
[[noreturn]] void fail(vkmoe_status status, const Parts&... parts) {
  throw Error(status, cat(parts...));
}

}  // namespace vkmoe
