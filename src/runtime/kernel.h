// A compute pipeline and what its SPIR-V says about it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/device.h"

namespace vkmoe {

// An embedded SPIR-V module, with its reflection; made at build time by tools/embed_kernels.cpp.
struct KernelBinary {
  const char* name;
  const uint32_t* words;
  uint32_t word_count;
  struct Binding {
    bool reads, writes;
    bool texels;  // a uniform texel buffer, not a storage buffer
  };
  const Binding* bindings;  // by binding number, set 0
  uint32_t binding_count;
  uint32_t push_bytes;
  uint32_t spec_count;      // specialization constants have ids 0 .. spec_count - 1, all 32-bit
  const uint32_t* spec_defaults;
  // Workgroup size: a literal, or the id of the specialization constant that sets it (>= 0 in local_size_spec).
  uint32_t local_size[3];
  int32_t local_size_spec[3];
};

// All of them, sorted by name.
const std::vector<KernelBinary>& embedded_kernels();
// One of them; nullptr where there is none: not every kernel is made for every weight format.
const KernelBinary* find_kernel(const std::string& name);

class Kernel {
 public:
  const KernelBinary* binary = nullptr;
  SpecConstants constants;
  std::string label;          // "matmul_q8_0(32,8,1)"
  uint32_t local_size[3] = {};
  void* pipeline = nullptr;   // VkPipeline; once it was waited for (KernelStore::wait)
  void* layout = nullptr;     // VkPipelineLayout
  void* set_layout = nullptr; // VkDescriptorSetLayout
};

}  // namespace vkmoe
