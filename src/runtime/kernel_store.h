// Pipelines by kernel and specialization, made at first use. Several threads may ask at once.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "runtime/gpu.h"
#include "runtime/kernel.h"
#include "runtime/pipeline_cache.h"

namespace vkmoe {

inline VkDescriptorType descriptor_type(const KernelBinary::Binding& binding) {
  return binding.texels ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
}

class KernelStore {
 public:
  explicit KernelStore(Gpu& gpu) : gpu_(gpu), cache_(gpu) {}
  ~KernelStore();

  const Kernel& get(const std::string& name, const SpecConstants& constants);
  const Kernel& get(const KernelBinary& binary, const SpecConstants& constants);
  void save_cache() { cache_.save(); }

 private:
  struct Entry {
    std::mutex mutex;
    bool ready = false;
    Kernel kernel;
  };
  struct Layout {
    VkDescriptorSetLayout set = VK_NULL_HANDLE;
    VkPipelineLayout pipeline = VK_NULL_HANDLE;
  };
  void check_limits(const Kernel& kernel) const;
  Layout layout(const KernelBinary& binary);
  void create_pipeline(Kernel& kernel);

  Gpu& gpu_;
  PipelineCache cache_;
  std::mutex mutex_;  // of the maps; never held while a pipeline is compiled
  std::map<std::pair<const KernelBinary*, SpecConstants>, std::unique_ptr<Entry>> entries_;
  using Types = std::vector<VkDescriptorType>;  // of the bindings
  std::map<Types, VkDescriptorSetLayout> set_layouts_;
  std::map<std::pair<Types, uint32_t>, VkPipelineLayout> pipeline_layouts_;  // by bindings and push bytes
};

}  // namespace vkmoe
