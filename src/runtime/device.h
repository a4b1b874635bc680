// A Vulkan device: capabilities, memory by intent, kernels, submission. The only room that includes Vulkan is runtime;
// this header shows none of it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace vkmoe {

class Recording;
class Kernel;
struct KernelBinary;
struct DeviceImpl;
struct BufferImpl;

// Matrices that a subgroup of so many invocations multiplies at once: (m, k) of fp16 by (k, n) of fp16, added to (m, n) of
// float32. m = 0: none.
struct MatrixShape {
  uint32_t m = 0, n = 0, k = 0, lanes = 0;
};

// What a device can do; filled once when it is opened. Sizes in bytes.
struct Caps {
  std::string name, driver;
  std::string type;  // "discrete", "integrated", "virtual", "cpu", "other"
  uint32_t vendor_id = 0, device_id = 0, driver_version = 0, api_version = 0;
  uint64_t memory_bytes = 0;           // largest device-local heap
  bool unified_memory = false;         // weights' memory can be written by the host directly
  uint64_t max_binding_bytes = 0;      // maxStorageBufferRange
  uint64_t max_allocation_bytes = 0;   // maxMemoryAllocationSize
  uint32_t max_shared_bytes = 0;       // maxComputeSharedMemorySize
  uint32_t max_invocations = 0;        // maxComputeWorkGroupInvocations
  uint32_t max_groups[3] = {};         // maxComputeWorkGroupCount
  uint32_t max_push_bytes = 0;
  uint32_t max_storage_buffers = 0;    // per stage
  uint32_t storage_alignment = 0;      // minStorageBufferOffsetAlignment
  uint64_t max_texels = 0;             // maxTexelBufferElements
  uint32_t texel_alignment = 0;        // minTexelBufferOffsetAlignment
  uint32_t subgroup_size = 0;
  uint32_t min_subgroup_size = 0;      // what a driver may narrow it to: 32 on AMD's RDNA, 64 on GCN
  bool subgroup_arithmetic = false, subgroup_ballot = false, subgroup_shuffle = false;
  bool fp16 = false, int8 = false, storage16 = false, storage8 = false, integer_dot = false;
  bool integer_dot_accelerated = false;  // of four signed bytes in a word; else it is no faster than multiply-adds
  MatrixShape cooperative_matrix;      // none either where a workgroup cannot be made of whole subgroups of known size
  bool buffer_device_address = false, pipeline_statistics = false;
  bool timestamps = false;
  double timestamp_ns = 0;             // nanoseconds per tick
  // Exact for denormals, too, which is tried when it is opened: shaders' unpackHalf2x16; what they load as fp16 (storage16).
  bool exact_halves = false, exact_storage16 = false;
};

// Every physical device, best first: discrete, integrated, virtual, CPU, other. Never fails: with no driver the array is
// empty. Each object: index, name, type, driver, ..., usable (bool), reason (when not usable), limits, capabilities.
nlohmann::json list_devices();

enum class MemoryUse {
  device,    // weights, caches, activations: device-local; mapped too where the device has unified memory
  upload,    // written by the host in order, read by the device
  readback,  // written by the device, read by the host (cached)
};

// A storage buffer; frees itself. Movable.
class Buffer {
 public:
  Buffer() = default;
  uint64_t size() const;
  void* mapped() const;  // nullptr when the host cannot reach it
  const std::string& name() const;
  explicit operator bool() const { return impl_ != nullptr; }
  std::shared_ptr<BufferImpl> impl_;
};

// What one element of a uniform texel buffer is: one or four u32, four f32.
enum class Texels { none, uint1, uint4, float4 };
uint32_t texel_bytes(Texels texels);

// A part of a buffer, as a kernel sees it. size 0: to the end. texels: for a binding that is a texel buffer.
struct BufferView {
  BufferView() = default;
  BufferView(const Buffer& buffer, uint64_t offset = 0, uint64_t size = 0)
      : buffer(buffer), offset(offset), size(size ? size : buffer.size() - offset) {}
  BufferView as(Texels kind) const {
    BufferView view = *this;
    view.texels = kind;
    return view;
  }
  Buffer buffer;
  uint64_t offset = 0, size = 0;
  Texels texels = Texels::none;
};

// Sizes of a specialization: constant ids 0, 1, 2, ... get these values in order.
using SpecConstants = std::vector<uint32_t>;

// What dispatches do at least, from their shapes: bytes of memory read and written, each once, and floating-point
// operations (a fused multiply-add is two). The same on every device.
struct WorkCount {
  uint64_t bytes = 0, flops = 0;
};

// Time, number of dispatches and work of one kernel.
struct KernelTime {
  std::string kernel;
  uint64_t dispatches = 0, nanoseconds = 0;
  WorkCount work;
  void add(const KernelTime& other);  // all but the name
};

struct DeviceCounters {
  uint64_t submits = 0, dispatches = 0;             // as executed: a recording submitted twice counts twice
  uint64_t bytes_uploaded = 0, bytes_read_back = 0;
  uint64_t memory_bytes = 0, peak_memory_bytes = 0;  // allocated from the driver
  uint64_t kernels_asked = 0, pipelines_created = 0;  // each once, however often it is asked for
};

class Device {
 public:
  // selector: "" for the best, an index of list_devices(), or part of a name (case-insensitive). Fails with
  // VKMOE_ERROR_NO_DEVICE and a message that lists what there is.
  // VKMOE_VALIDATION=1 turns the validation layer on with synchronization validation, =gpu with GPU-assisted validation
  // (fails if the layer is missing), =names gives objects their names alone, for other layers; its messages are counted,
  // kept for validation_messages(), and printed to stderr.
  static std::shared_ptr<Device> open(const std::string& selector);
  ~Device();

  const Caps& caps() const;
  DeviceCounters counters() const;

  // Fails with VKMOE_ERROR_OUT_OF_MEMORY (name, bytes wanted, bytes there are), and with VKMOE_ERROR_UNSUPPORTED when size
  // is above max_binding_bytes for MemoryUse::device. Contents are undefined. size is rounded up to 16.
  Buffer create_buffer(uint64_t size_bytes, MemoryUse use, const std::string& name);

  // Fills [offset, offset + size) of a device buffer; `fill` writes the bytes of the range [at, at + count) of the data
  // to `out`, and is called for consecutive pieces. Direct where the buffer is mapped, else through two staging buffers
  // that overlap filling and copying. Done when it returns or at the next submit, whichever is later.
  using Fill = std::function<void(uint64_t at, uint64_t count, void* out)>;
  void upload(const Buffer& buffer, uint64_t offset, uint64_t size, const Fill& fill);
  void upload(const Buffer& buffer, uint64_t offset, const void* data, uint64_t size);

  // Waits for all work, then copies [offset, offset + size) to `out`.
  void read_back(const Buffer& buffer, uint64_t offset, void* out, uint64_t size);

  // An embedded kernel; its pipeline is compiled in the background from the first call on, and kept for the device's
  // life. Recording::end() waits for what it needs, and throws where a driver fails to compile it. Thread-safe. Fails
  // with VKMOE_ERROR_INTERNAL for an unknown name, VKMOE_ERROR_UNSUPPORTED when limits do not allow it (shared memory,
  // invocations, buffers), naming the kernel.
  const Kernel& kernel(const std::string& name, const SpecConstants& constants = {});
  // The same for a module that is not embedded; it must stay where it is while the device lives.
  const Kernel& kernel(const KernelBinary& binary, const SpecConstants& constants = {});
  void wait(const std::vector<const Kernel*>& kernels);  // until they are compiled; throws where one cannot be

  // Executes recordings one after the other in one submission (the same one may stand several times); each sees the
  // memory effects of those before it. Returns a ticket. A lost device becomes VKMOE_ERROR_DEVICE_LOST with the name of
  // the last kernel known to have started.
  uint64_t submit(const std::vector<const Recording*>& recordings);
  void wait(uint64_t ticket);  // and all before it
  bool finished(uint64_t ticket);
  void wait_idle();

  // Messages of the validation layer so far, about all devices of this process (empty without the layer).
  std::vector<std::string> validation_messages() const;

  // Writes the pipeline cache to disk now (also done when the device closes). Never fails: a cache that cannot be
  // written is left as it was.
  void save_pipeline_cache();

  // A file's path beside the pipeline cache, for what was found out about this device, driver and version of vkmoe; "" where
  // there is no folder for it.
  std::string cache_path(const std::string& extension) const;

  DeviceImpl* impl() const { return impl_.get(); }

 private:
  explicit Device(std::unique_ptr<DeviceImpl> impl);
  std::unique_ptr<DeviceImpl> impl_;
};

}  // namespace vkmoe
