// What a device reaches at best, measured with kernels that do nothing else: the roofline (Williams et al. 2009) beside
// which vkmoe bench shows every kernel.
#pragma once
#include "runtime/device.h"

namespace vkmoe {

struct Roofline {
  double read_bytes_per_second = 0;  // streaming read of 128 MiB, or of what the device binds
  double flops_per_second = 0;       // fused multiply-adds in float32, each two
};

// Takes about a second. All zero on a device without timestamps. Fails with VKMOE_ERROR_INTERNAL when a kernel's
// result is not that of plain loops.
Roofline measure_roofline(Device& device);

}  // namespace vkmoe
