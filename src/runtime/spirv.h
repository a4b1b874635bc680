// What must be known of a SPIR-V module before a pipeline is made of it, beyond the build-time reflection: it hangs
// on the values of the specialization constants.
#pragma once
#include "runtime/kernel.h"

namespace vkmoe {

// SPIR-V capabilities (their numbers) that a module declares.
std::vector<uint32_t> spirv_capabilities(const KernelBinary& binary);

// Bytes of workgroup (shared) memory with these constants, one for each of the module's.
uint64_t spirv_shared_bytes(const KernelBinary& binary, const SpecConstants& constants);

}  // namespace vkmoe
