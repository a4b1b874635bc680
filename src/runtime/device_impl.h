// The state of a Device.
#pragma once
#include "runtime/gpu.h"
#include "runtime/kernel_store.h"
#include "runtime/upload.h"

namespace vkmoe {

struct DeviceImpl {
  explicit DeviceImpl(std::shared_ptr<Gpu> shared) : gpu(std::move(shared)), kernels(*gpu), transfers(gpu) {}
  std::shared_ptr<Gpu> gpu;
  KernelStore kernels;
  Transfers transfers;
  bool one_at_a_time = false;  // VKMOE_SYNC: wait for each recording, so that a lost device names the right one
};

}  // namespace vkmoe
