// vkmoe_models_json: the families that run, the models people have of them, and what fits where.
#include <algorithm>

#include "api/handles.h"
#include "loader/format.h"
#include "moe/arch/arch.h"

namespace vkmoe {
namespace {

using nlohmann::ordered_json;

struct Memory {
  const char* name;
  double gibibytes;
};
const Memory memories[] = {{"phone", 4}, {"8 GB", 8}, {"16 GB", 16}, {"24 GB", 24}};

// From the most to the fewest bits; the first that fits is named.
const char* const types[] = {"F16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K", "IQ2_XXS", "IQ1_S"};

double bits(const Format& format) { return 8.0 * format.block_bytes / format.block_elems; }

// Nine tenths of a memory are the program's, and half a gigabyte of them goes to the cache and the activations.
double room(const Memory& memory) { return memory.gibibytes * 0x1p30 * 0.9 - 0.5e9; }

// A family without a GGUF has its folder's 16 bits alone.
const Format* best_type(const Architecture& a, double parameters, const Memory& memory) {
  for (const char* name : types) {
    if (name != types[0] && !*a.gguf) continue;
    const Format* format = find_format(name);
    if (format && parameters * bits(*format) / 8 <= room(memory)) return format;
  }
  return nullptr;
}

// The model with the most parameters that fits a memory with at least so many bits a weight.
ordered_json largest(const Memory& memory, double least_bits) {
  ordered_json best;
  double most = 0;
  for (const Architecture* a : architectures()) {
    for (const RealModel& model : a->models) {
      const Format* type = best_type(*a, model.billions * 1e9, memory);
      if (!type || bits(*type) < least_bits || model.billions <= most) continue;
      most = model.billions;
      best = {{"model", model.name}, {"type", type->name}};
    }
  }
  return best;
}

ordered_json family(const Architecture& a) {
  ordered_json models = ordered_json::array();
  for (const RealModel& model : a.models) {
    ordered_json fits = ordered_json::object();
    for (const Memory& memory : memories) {
      const Format* type = best_type(a, model.billions * 1e9, memory);
      fits[memory.name] = type ? ordered_json(type->name) : ordered_json();
    }
    models.push_back({{"name", model.name},
                      {"billions", model.billions},
                      {"active_billions", model.active_billions},
                      {"largest_type_that_fits", fits}});
  }
  ordered_json gguf = ordered_json::array();
  if (a.gguf && *a.gguf) gguf = split_at_bars(a.gguf);
  return {{"family", a.name}, {"model_type", split_at_bars(a.hugging_face)}, {"gguf_architecture", gguf},
          {"tried_as", a.tried_as}, {"others_differ", a.others_differ}, {"models", models}};
}

}  // namespace

std::string models_json() {
  ordered_json all;
  for (const Architecture* a : architectures()) all["families"].push_back(family(*a));
  for (const char* name : types) all["bits"][name] = bits(*find_format(name));
  for (const Memory& memory : memories)
    all["memories"].push_back({{"memory", memory.name},
                               {"bytes_for_weights", uint64_t(room(memory))},
                               {"largest_with_4_bits", largest(memory, 4)},
                               {"largest", largest(memory, 0)}});
  return all.dump(2);
}

}  // namespace vkmoe
