// Splits work over the processor's cores.
#pragma once
#include <cstdint>
#include <functional>

namespace vkmoe {

// Calls body(i) for each i in [0, count), on all cores, in any order. The first exception is thrown on.
void parallel_for(uint64_t count, const std::function<void(uint64_t)>& body);

}  // namespace vkmoe
