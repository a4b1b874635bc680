// What loading a model leaves in memory, and what it has compiled in advance.
#include "support.h"

using namespace vkmoe;
using namespace vkmoe::test;

namespace {

const std::string default_model = VKMOE_SOURCE_DIR "/models/vkmoe-default.gguf";

// Bytes of a file's mappings that lie in this process's memory (Linux).
uint64_t resident_bytes(const std::string& path) {
  std::ifstream maps("/proc/self/smaps");
  uint64_t bytes = 0;
  bool ours = false;
  for (std::string line; std::getline(maps, line);) {
    bool heads = line.find('-') < line.find(' ') && line.find(':') > line.find(' ');  // "7f12-7f34 r--p ... path"
    if (heads) ours = line.ends_with(path);
    if (ours && line.starts_with("Rss:")) bytes += std::stoull(line.substr(4)) * 1024;
  }
  return bytes;
}

}  // namespace

TEST_CASE("loading leaves none of the file's pages in memory, and holds few at a time") {
  if (!std::ifstream("/proc/self/smaps").good()) return;
  std::shared_ptr<ModelSpec> spec = read_spec(default_model);
  const MappedFile& file = *spec->file->files[0];
  uint64_t most = 0;
  place_model(device(), *spec, [&](uint64_t, uint64_t) { most = std::max(most, resident_bytes(file.path())); });
  CHECK(most < file.size() / 2);
  CHECK(resident_bytes(file.path()) <= 64 << 10);

  // They come back as they were.
  std::string bytes = read_file(default_model);
  CHECK(std::memcmp(bytes.data(), file.data(), file.size()) == 0);
  CHECK(resident_bytes(file.path()) > file.size() / 2);
  check_no_validation_messages();
}

TEST_CASE("what is compiled while a model is loaded is what its session needs, each once") {
  constexpr uint32_t capacity = 20;
  for (const char* family : {"mixtral", "nllb_moe", "gpt_oss", "llama4"}) {
    CAPTURE(family);
    std::shared_ptr<ModelSpec> spec = read_spec(data("goldens/") + family);
    auto running = Device::open(""), loading = Device::open("");
    DeviceSession session(place_model(running, *spec, [](uint64_t, uint64_t) {}), capacity, 0, false);
    std::vector<int32_t> ids = random_ids(spec->hyper.vocab, capacity, 1);
    if (spec->encoder) session.encode(ids.data(), capacity);
    else session.feed(ids.data(), capacity, nullptr);
    session.rewind(0);
    session.feed(ids.data(), 1, nullptr);
    session.generate({}, 2, [](int32_t) { return false; });
    DeviceCounters needed = running->counters();
    CHECK(needed.pipelines_created == needed.kernels_asked);

    compile_for_session(*model_shapes(loading, *spec), capacity, 0);
    CHECK(loading->counters().kernels_asked == needed.kernels_asked);
    CHECK(loading->counters().memory_bytes < 1 << 20);  // of what opening a device takes
  }
  check_no_validation_messages();
}
