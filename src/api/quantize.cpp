// vkmoe_quantize of the C API.
#include "moe/quantize.h"

#include <algorithm>
#include <cstring>

#include "api/handles.h"

using namespace vkmoe;

static const Format* named_format(const char* option, const char* name) {
  if (!name || !*name) return nullptr;
  std::string upper(name);
  for (char& c : upper) c = char(std::toupper(static_cast<unsigned char>(c)));
  if (upper.ends_with("_K_M")) upper.resize(upper.size() - 2);  // llama.cpp's name of the mixture that Q4_K is here, too
  const Format* format = find_format(upper);
  if (!format || !format->encode)
    fail(VKMOE_ERROR_UNSUPPORTED, option, ": expected one of ", encodable_formats(), ", found '", name, "'");
  return format;
}

void vkmoe_quantize_options_init(vkmoe_quantize_options* options) {
  if (!options) return;
  *options = {};
  options->size_bytes = sizeof(*options);
}

vkmoe_status vkmoe_quantize(const char* in_path, const char* out_path, const vkmoe_quantize_options* options,
                            char** report) {
  return guard([&] {
    need(in_path, "in_path");
    need(out_path, "out_path");
    need(options, "options");
    vkmoe_quantize_options chosen;
    vkmoe_quantize_options_init(&chosen);
    std::memcpy(&chosen, options, std::min(options->size_bytes, sizeof(chosen)));
    QuantizeTypes types;
    types.all = named_format("type", chosen.type);
    if (!types.all) fail(VKMOE_ERROR_INVALID_ARGUMENT, "type: expected one of ", encodable_formats(), ", found none");
    types.experts = named_format("experts", chosen.experts);
    types.shared = named_format("shared", chosen.shared);
    types.attention = named_format("attention", chosen.attention);
    types.keep_router = chosen.keep_router != 0;
    QuantizeReport made = quantize(in_path, out_path, types, [&](uint64_t done, uint64_t total) {
      if (chosen.progress && chosen.progress(chosen.progress_user, done, total) != 0)
        fail(VKMOE_ERROR_CANCELLED, "quantizing was cancelled; nothing is written");
    });
    if (!report) return;
    nlohmann::ordered_json json = {{"source_bytes", made.source_bytes},
                                   {"written_bytes", made.written_bytes},
                                   {"notes", made.notes}};
    *report = new_string(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  });
}
