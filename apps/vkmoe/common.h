// What the commands share: failures, handles that close themselves, options.
#pragma once
#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../output.h"
#include "../progress.h"
#include "vkmoe/vkmoe.h"

// Ctrl-C stopped the answer; main returns what a shell expects of that.
struct Interrupted {};

// Throws Failure with the library's message unless the status is VKMOE_OK.
void check(vkmoe_status status);

struct Closer {
  void operator()(vkmoe_device* device) const { vkmoe_device_close(device); }
  void operator()(vkmoe_model* model) const { vkmoe_model_close(model); }
  void operator()(vkmoe_session* session) const { vkmoe_session_close(session); }
};
using Device = std::unique_ptr<vkmoe_device, Closer>;
using Model = std::unique_ptr<vkmoe_model, Closer>;
using Session = std::unique_ptr<vkmoe_session, Closer>;

// Options of the commands that run a model.
struct RunOptions {
  std::string model, device;
  bool reference = false;
  bool chat = false;  // the model must have a chat template
  uint32_t context_tokens = 0;
  uint32_t chunk_tokens = 0;
  bool exact = false;
};
void add_model_option(CLI::App& app, std::string& model);
void add_run_options(CLI::App& app, RunOptions& options, const char* context_flags = "-c,--context");

// The model's path as given, else $VKMOE_MODEL, else the first models/*.gguf beside the program or its source.
std::string model_path(const std::string& given);

// A device with a model on it. Shows a progress bar while a slow load runs.
struct LoadedModel {
  Device device;  // null with --reference
  Model model;
  double load_seconds = 0;
};
LoadedModel load_model(const RunOptions& options);
Session open_session(vkmoe_model* model, const RunOptions& options, bool profile = false, bool routing = false);

std::vector<int32_t> tokenize(const vkmoe_model* model, std::string_view text, uint32_t flags);
std::string token_bytes(const vkmoe_model* model, int32_t id, bool special = false);

// The ids that a decoder's text begins with; none unless the model is an encoder-decoder model.
std::vector<int32_t> decoder_prompt(const vkmoe_model* model);

// Fails unless `count` tokens fit in the session; `what` names them ("the prompt").
void check_fits(const vkmoe_session* session, size_t count, const std::string& what);

// The counts of vkmoe_session_stats_json().
nlohmann::json session_stats(vkmoe_session* session);
// The JSON that the library gives for a call that returns a new string.
nlohmann::json take_json(char* text);

// Token ids parted by white space, each below vocab_size; at least one. name: the file, for messages.
std::vector<int32_t> parse_ids(const std::string& name, const std::string& text, uint32_t vocab_size);

// "21.1 million", "22.4 MB"
std::string count_text(double count);
std::string bytes_text(double bytes);
