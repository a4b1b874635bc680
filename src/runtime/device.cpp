#include "runtime/device.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "runtime/device_impl.h"
#include "runtime/recording_impl.h"

namespace vkmoe {
namespace {

// Best first.
std::vector<PhysicalDevice> ranked_devices(const Instance& instance) {
  static const std::string order[] = {"discrete", "integrated", "virtual", "cpu", "other"};
  std::vector<PhysicalDevice> devices;
  for (VkPhysicalDevice handle : instance.physical_devices()) devices.push_back(inspect(handle));
  auto rank = [](const PhysicalDevice& device) { return std::find(order, order + 5, device.caps.type) - order; };
  std::stable_sort(devices.begin(), devices.end(), [&](const PhysicalDevice& a, const PhysicalDevice& b) {
    return rank(a) < rank(b);
  });
  return devices;
}

std::string lower(std::string text) {
  for (char& c : text) c = char(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool selected(const PhysicalDevice& device, size_t index, const std::string& selector, bool by_index) {
  if (by_index) return selector == std::to_string(index);
  return lower(device.caps.name).find(lower(selector)) != std::string::npos;
}

const PhysicalDevice& select_device(const std::vector<PhysicalDevice>& devices, const std::string& selector) {
  if (devices.empty()) {
    fail(VKMOE_ERROR_NO_DEVICE,
         "no Vulkan driver was found that offers a device; install the Vulkan driver of this machine's GPU");
  }
  bool number = !selector.empty() && std::all_of(selector.begin(), selector.end(), [](unsigned char c) {
    return std::isdigit(c);
  });
  std::string list, reason;
  // A number is an index first and a part of a name ("4090") only where there is no such index.
  for (bool by_index : {true, false}) {
    if (by_index && !number) continue;
    for (size_t i = 0; i < devices.size(); i++) {
      if (!selected(devices[i], i, selector, by_index)) continue;
      if (devices[i].unusable_reason.empty()) return devices[i];
      if (!reason.empty()) continue;
      reason = cat("device ", i, " '", devices[i].caps.name, "' ", devices[i].unusable_reason);
    }
    if (!reason.empty()) fail(VKMOE_ERROR_NO_DEVICE, reason);
  }
  for (size_t i = 0; i < devices.size(); i++) list += cat(i ? ", " : "", i, " '", devices[i].caps.name, "'");
  fail(VKMOE_ERROR_NO_DEVICE, "no device matches '", selector, "'; there are: ", list);
}

// Runs half_probe.comp: whether fp16 is converted exactly, by unpackHalf2x16 or when it is loaded as such.
bool has_exact_halves(Device& device, bool loaded) {
  constexpr uint32_t words = 65536 / 2, lanes = 128;
  Buffer exact = device.create_buffer(words * 4, MemoryUse::device, "probe of halves"), all;
  std::vector<BufferView> buffers = {exact};
  if (loaded) {
    all = device.create_buffer(words * 4, MemoryUse::upload, "all halves");
    uint16_t* halves = static_cast<uint16_t*>(all.mapped());
    std::iota(halves, halves + 2 * words, uint16_t(0));
    buffers.push_back(all);
  }
  Recording recording(device, "probe of halves");
  recording.dispatch(device.kernel(loaded ? "half_probe_storage16" : "half_probe"), buffers, nullptr, 0, words / lanes);
  recording.end();
  device.wait(device.submit({&recording}));
  std::vector<uint32_t> found(words);
  device.read_back(exact, 0, found.data(), words * 4);
  return std::all_of(found.begin(), found.end(), [](uint32_t ok) { return ok == 1; });
}

}  // namespace

nlohmann::json list_devices() {
  auto list = nlohmann::json::array();
  try {
    auto instance = Instance::get();
    for (const PhysicalDevice& device : ranked_devices(*instance)) list.push_back(to_json(device, list.size()));
  } catch (const std::exception&) {  // no loader, no driver: no devices
  }
  return list;
}

uint64_t Buffer::size() const { return impl_ ? impl_->size : 0; }
void* Buffer::mapped() const { return impl_ ? impl_->mapped : nullptr; }
const std::string& Buffer::name() const {
  static const std::string none;
  return impl_ ? impl_->name : none;
}

std::shared_ptr<Device> Device::open(const std::string& selector) {
  auto instance = Instance::get();
  auto gpu = std::make_shared<Gpu>(instance, select_device(ranked_devices(*instance), selector));
  auto impl = std::make_unique<DeviceImpl>(gpu);
  const char* one_at_a_time = std::getenv("VKMOE_SYNC");
  impl->one_at_a_time = one_at_a_time && *one_at_a_time && std::strcmp(one_at_a_time, "0") != 0;
  std::shared_ptr<Device> device(new Device(std::move(impl)));
  Caps& caps = gpu->physical.caps;
  caps.exact_halves = has_exact_halves(*device, false);
  caps.exact_storage16 = caps.storage16 && has_exact_halves(*device, true);
  gpu->counters.submits = gpu->counters.dispatches = gpu->counters.bytes_read_back = 0;  // those of users
  return device;
}

Device::Device(std::unique_ptr<DeviceImpl> impl) : impl_(std::move(impl)) {}

Device::~Device() {
  try {
    impl_->transfers.wait_idle();
  } catch (const std::exception&) {  // lost
  }
  impl_->kernels.stop();
  impl_->kernels.save_cache();
}

const Caps& Device::caps() const { return impl_->gpu->caps(); }
DeviceCounters Device::counters() const {
  DeviceCounters counters = impl_->gpu->counters;
  impl_->kernels.count(counters);
  return counters;
}

Buffer Device::create_buffer(uint64_t size_bytes, MemoryUse use, const std::string& name) {
  return make_buffer(impl_->gpu, size_bytes, use, name);
}

void Device::upload(const Buffer& buffer, uint64_t offset, uint64_t size, const Fill& fill) {
  impl_->transfers.upload(buffer, offset, size, fill);
}

void Device::upload(const Buffer& buffer, uint64_t offset, const void* data, uint64_t size) {
  upload(buffer, offset, size, [data](uint64_t at, uint64_t count, void* out) {
    std::memcpy(out, static_cast<const uint8_t*>(data) + at, count);
  });
}

void Device::read_back(const Buffer& buffer, uint64_t offset, void* out, uint64_t size) {
  impl_->transfers.read_back(buffer, offset, out, size);
}

const Kernel& Device::kernel(const std::string& name, const SpecConstants& constants) {
  return impl_->kernels.get(name, constants);
}

const Kernel& Device::kernel(const KernelBinary& binary, const SpecConstants& constants) {
  return impl_->kernels.get(binary, constants);
}

void Device::wait(const std::vector<const Kernel*>& kernels) { impl_->kernels.wait(kernels); }

uint64_t Device::submit(const std::vector<const Recording*>& recordings) {
  for (const Recording* recording : recordings) {
    const RecordingImpl& r = *recording->impl();
    if (!r.ended) fail(VKMOE_ERROR_INTERNAL, "submit: recording '", r.notes->name, "' has not ended");
    if (r.gpu != impl_->gpu) {
      fail(VKMOE_ERROR_INTERNAL, "submit: recording '", r.notes->name, "' is another device's");
    }
  }
  Queue& queue = *impl_->gpu->queue;
  if (impl_->one_at_a_time) impl_->transfers.flush();
  std::vector<Queue::Item> items;
  auto send = [&] {
    if (items.empty()) return;
    impl_->transfers.submitted(queue.submit(items));
    items.clear();
  };
  if (auto pending = impl_->transfers.take_pending()) items.push_back(*pending);
  for (const Recording* recording : recordings) {
    items.push_back({recording->impl()->commands, recording->impl()->notes});
    if (!impl_->one_at_a_time) continue;
    send();
    queue.wait_idle();
  }
  send();
  for (const Recording* recording : recordings) {
    recording->impl()->last_ticket = queue.last_ticket();
    impl_->gpu->counters.dispatches += recording->dispatches();
  }
  return queue.last_ticket();
}

void Device::wait(uint64_t ticket) { impl_->gpu->queue->wait(ticket); }
bool Device::finished(uint64_t ticket) { return impl_->gpu->queue->finished(ticket); }
void Device::wait_idle() { impl_->transfers.wait_idle(); }

std::vector<std::string> Device::validation_messages() const { return all_validation_messages(); }

void Device::save_pipeline_cache() { impl_->kernels.save_cache(); }

std::string Device::cache_path(const std::string& extension) const { return device_cache_path(*impl_->gpu, extension); }

}  // namespace vkmoe
