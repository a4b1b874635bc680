// compile_kernels: compiles every kernel in every shape that the program records, for the device that it finds, and runs
// none. bench/compilers.py and the tests run it on pretended GPUs (tools/compilers/README.md).
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "moe/ops/ops.h"

using namespace vkmoe;

namespace {

struct Options {
  bool hot = false;     // only what a decode step and a prefill of usual models spend their time in
  bool shapes = false;  // a processor's workgroups too
  int most_spills = -1;  // of a pipeline; -1: any number
  std::set<std::string> formats;
};

const std::set<std::string> hot_formats = {"Q4_K", "Q6_K", "Q8_0", "F16", "MXFP4"};

class Compiler {
 public:
  Compiler(Device& device, const Options& options) : device_(device), options_(options) {
    uint64_t bytes = 1 << 16;
    any_ = device.create_buffer(bytes, MemoryUse::device, "any");
  }

  // Records with a tuning; the recording is thrown away, what it made the device compile stays.
  void record(const char* what, const Tuning& tuning, const std::function<void(Recorder&)>& body) {
    try {
      Recording recording(device_, what);
      Recorder recorder{device_, recording, tuning};
      body(recorder);
      recording.end();
    } catch (const Error& error) {
      std::fprintf(stderr, "compile_kernels: %s: %s\n", what, error.what());
      ++failures;
    }
  }

  void matmuls(const Tuning& tuning, const Format& format) {
    for (uint32_t epilogue : {EPILOGUE_STORE, EPILOGUE_ADD, EPILOGUE_GATED, EPILOGUE_ACTIVATED}) {
      if (options_.hot && epilogue == EPILOGUE_ACTIVATED) continue;  // of encoder-decoder models alone
      Weight weight = fake_weight(format, epilogue == EPILOGUE_GATED);
      for (uint32_t n_tokens : {TILE_HEIGHT_0, TILE_HEIGHT_1, TILE_HEIGHT_2, TILE_HEIGHT_3}) {
        if (options_.hot && n_tokens == TILE_HEIGHT_1) continue;
        record("matmul", tuning, [&](Recorder& r) {
          matmul(r, {.weight = weight, .x = rows(), .y = rows(), .n_rows = n_tokens, .epilogue = epilogue});
          if (products_of(r, weight, n_tokens) != Products::exact)
            matmul(r, {.weight = weight, .x = rows(), .y = rows(), .n_rows = n_tokens, .epilogue = epilogue, .rounded_x = any_});
        });
      }
      if (epilogue == EPILOGUE_ADD) continue;  // experts are added by combine()
      for (uint32_t n_tokens : {TILE_HEIGHT_0, TILE_HEIGHT_2, TILE_HEIGHT_3}) {
        record("expert_matmul", tuning, [&](Recorder& r) {
          expert_matmul(r, {.weight = weight, .x = rows(), .y = rows(), .routing = routing(n_tokens), .use = 0, .epilogue = epilogue});
          if (products_of(r, weight, n_tokens) != Products::exact)
            expert_matmul(r, {.weight = weight, .x = rows(), .y = rows(), .routing = routing(n_tokens), .use = 0,
                              .epilogue = epilogue, .rounded_x = any_});
        });
      }
    }
    if (options_.hot) return;
    record("embed", tuning, [&](Recorder& r) { embed(r, fake_weight(format, false), any_, rows(), 1, 1); });
  }

  // Kernels that read no weights: with the tuning's lanes, and attention and gate for several models.
  void others(const Tuning& tuning) {
    record("attention", tuning, [&](Recorder& r) {
      std::vector<uint32_t> head_dims = {64, 128};
      if (!options_.hot) head_dims = {64, 80, 96, 128, 256, 576};
      for (uint32_t head_dim : head_dims) {
        for (auto [n_tokens, half] : {std::pair(1u, true), {64u, true}, {1u, false}, {64u, false}}) {
          if (options_.hot && half != tuning.half_cache) continue;
          AttentionParams p = {};
          p.n_tokens = n_tokens;
          p.n_heads = 8;
          p.n_kv_heads = 1;
          p.head_dim = head_dim;
          p.value_dim = head_dim == 576 ? 512 : head_dim;  // DeepSeek's latent attention
          attention(r, any_, any_, {any_, any_, half}, rows(), any_, any_, any_, any_, p);
        }
      }
    });
    record("gate", tuning, [&](Recorder& r) {
      for (uint32_t n_experts : {8, 32, 128, 256, 1024}) {
        GateRule rule = {};
        rule.n_experts = n_experts;
        rule.top_k = 8;
        choose_experts(r, rule, rows(), any_, routing(1));
        if (n_experts > ROUTER_MAX_EXPERTS) continue;
        Weight router = fake_weight(*find_format("F32"), false);
        router.n = n_experts;
        norm_and_choose(r, {rule, router, rows(), rows(), rows(), any_, any_, 1e-6f}, routing(1));
      }
    });
    if (options_.hot) return;
    record("cache of fp16", tuning, [&](Recorder& r) {
      RopeParams rope = {};
      rope.head_dim = 128;
      rope_cache(r, any_, rows(), any_, any_, any_, {any_, any_, true}, rope);
      LatentParams latent = {};
      latent.kv_rank = 512;
      latent.rotary_dim = 64;
      latent_cache(r, any_, rows(), rows(), any_, any_, any_, {any_, any_, true}, latent);
    });
    for (const KernelBinary& binary : embedded_kernels()) {
      if (std::strncmp(binary.name, "matmul", 6) == 0 || std::strncmp(binary.name, "embed", 5) == 0) continue;
      record(binary.name, tuning, [&](Recorder&) {
        device_.kernel(binary);
        if (binary.local_size_spec[0] == 0) device_.kernel(binary, {tuning.lanes});
      });
    }
  }

  int failures = 0;

 private:
  Weight fake_weight(const Format& format, bool paired) {
    Weight weight;
    weight.format = &format;
    weight.n = TILE_ROWS;
    weight.k = 256;
    weight.paired = paired;
    weight.expert_tiles = paired ? 2 : 1;
    weight.shards = {{any_, any_, 1, 0}};
    return weight;
  }
  Rows rows() { return {any_, 256}; }
  Routing routing(uint32_t n_tokens) {
    Routing routing;
    routing.n_tokens = n_tokens;
    routing.top_k = 8;
    routing.ids = routing.weights = routing.counts = routing.offsets = routing.sorted = routing.slot_of = any_;
    routing.tiles = routing.groups = any_;
    return routing;
  }

  Device& device_;
  const Options& options_;
  Buffer any_;  // stands for every buffer
};

// Pipelines that keep more than `most` registers in memory, from what the layer wrote (tools/compilers/layer.cpp).
int count_spills(const char* path, int most) {
  std::map<int, std::string> names;
  std::map<int, nlohmann::json> spilled;
  std::ifstream file(path);
  size_t seen = 0;
  for (std::string text; std::getline(file, text);) {
    auto line = nlohmann::json::parse(text);
    int pipeline = line.at("pipeline");
    if (line.contains("name")) names[pipeline] = line["name"];
    if (!line.contains("statistics")) continue;
    ++seen;
    for (const auto& [name, value] : line["statistics"].items()) {
      bool spill = name == "Spilled VGPRs" || name == "Spill Count" || name == "Spills" || name == "STP Count";
      bool scratch = most == 0 && name.find("Scratch") == 0;  // bytes
      if ((spill || scratch) && value.get<double>() > most) spilled[pipeline][name] = value;
    }
  }
  if (seen == 0) fail(VKMOE_ERROR_NOT_FOUND, "the driver wrote no statistics to ", path);
  for (const auto& [pipeline, numbers] : spilled) {
    std::fprintf(stderr, "compile_kernels: %s spills: %s\n", names[pipeline].c_str(), numbers.dump().c_str());
  }
  return int(spilled.size());
}

int compile(const Options& options) {
  const char* statistics = std::getenv("VKMOE_COMPILER_STATS");
  if (options.most_spills >= 0) {
    if (!statistics) fail(VKMOE_ERROR_INVALID_ARGUMENT, "--spills needs tools/compilers/as_gpu.sh and VKMOE_COMPILER_STATS");
    std::remove(statistics);
  }
  auto device = Device::open("");
  Compiler compiler(*device, options);
  Caps caps = device->caps();
  caps.exact_halves = true;  // as on most devices; here nothing runs that could show it
  caps.exact_storage16 = caps.storage16;
  std::vector<Tuning> tunings = {Tuning::of(caps)};
  if (options.shapes) tunings = {Tuning::cpu(device->caps()), Tuning::gpu(caps)};
  for (const Tuning& tuning : tunings) {
    for (const Format* format : all_formats()) {
      if (options.formats.empty() || options.formats.count(format->name)) compiler.matmuls(tuning, *format);
    }
    compiler.others(tuning);
  }
  size_t messages = device->validation_messages().size();
  std::printf("%s: %llu pipelines, %d failed, %zu messages of the validation layer\n", device->caps().name.c_str(),
              static_cast<unsigned long long>(device->counters().pipelines_created), compiler.failures, messages);
  int spills = options.most_spills >= 0 ? count_spills(statistics, options.most_spills) : 0;
  return compiler.failures || messages || spills ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    std::string argument = argv[i];
    if (argument == "--hot") {
      options.hot = true;
    } else if (argument == "--shapes") {
      options.shapes = true;
    } else if (argument == "--spills" && i + 1 < argc) {
      options.most_spills = std::atoi(argv[++i]);
    } else if (find_format(argument)) {
      options.formats.insert(argument);
    } else {
      std::fprintf(stderr, "usage: compile_kernels [--hot] [--shapes] [--spills N] [FORMAT ...]\n"
                           "  --hot        only the hot kernels of a GPU, in five formats\n"
                           "  --shapes     the workgroups of processors and of GPUs, not the device's own alone\n"
                           "  --spills N   fails where a kernel spills more than N registers\n");
      return 2;
    }
  }
  if (options.hot && options.formats.empty()) options.formats = hot_formats;
  try {
    return compile(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "compile_kernels: %s\n", error.what());
    return 1;
  }
}
