// vkmoe_tune of the C API.
#include "moe/tune.h"

#include <algorithm>
#include <cstring>

#include "api/handles.h"
#include "moe/tuned.h"

using namespace vkmoe;

static nlohmann::ordered_json report_of(const Model& model, const TuningResult& result, const std::string& path) {
  nlohmann::ordered_json passes = nlohmann::ordered_json::array(), trials = nlohmann::ordered_json::array();
  for (size_t i = 0; i < tuned_passes().size(); ++i)
    passes.push_back({{"name", tuned_passes()[i].name},
                      {"built_in_tokens_per_second", 1 / result.built_in[i]},
                      {"tuned_tokens_per_second", 1 / result.tuned[i]}});
  for (const TuningTrial& t : result.trials) {
    nlohmann::ordered_json trial = {{"pass", t.pass}, {"variant", t.variant}};
    if (t.refused.empty()) {
      trial["tokens_per_second"] = 1 / t.seconds;
      trial["against"] = 1 / t.against;
      trial["taken"] = t.taken;
    } else {
      trial["refused"] = t.refused;
    }
    trials.push_back(trial);
  }
  return {{"device", model.device->caps().name}, {"shapes", shape_set(model)}, {"passes", passes},
          {"tuning", to_json(result.tuning)},    {"trials", trials},           {"stored", path}};
}

void vkmoe_tune_options_init(vkmoe_tune_options* options) {
  if (options) *options = {sizeof(vkmoe_tune_options), 60, nullptr, nullptr};
}

vkmoe_status vkmoe_tune(vkmoe_device* device, const char* path, const vkmoe_tune_options* options, char** report) {
  return guard([&] {
    need(device, "device");
    need(path, "path");
    if (report) *report = nullptr;
    vkmoe_tune_options chosen;
    vkmoe_tune_options_init(&chosen);
    if (options) std::memcpy(&chosen, options, std::min(options->size_bytes, sizeof(chosen)));
    if (!(chosen.seconds >= 0)) fail(VKMOE_ERROR_INVALID_ARGUMENT, "seconds: expected 0 or more, found ", chosen.seconds);
    ModelSpec spec = read_model_spec(ModelFile::open(path));
    std::shared_ptr<Model> model = place_model(device->device, spec, [](uint64_t, uint64_t) {});
    TuningResult result = tune(model, spec, chosen.seconds, [&](double done) {
      if (chosen.progress && chosen.progress(chosen.progress_user, uint64_t(done * 1000), 1000) != 0)
        fail(VKMOE_ERROR_CANCELLED, "tuning was cancelled; nothing is stored");
    });
    std::string stored = store_tuning(*model, result.tuning);
    if (report)
      *report = new_string(report_of(*model, result, stored).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  });
}
