// Loading, files and output for the commands of vkmoe.
#include "common.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace fs = std::filesystem;

void check(vkmoe_status status) {
  if (status != VKMOE_OK) throw Failure(vkmoe_last_error());
}

void add_model_option(CLI::App& app, std::string& model) {
  app.add_option("-m,--model", model,
                 "GGUF file or Hugging Face folder (default: $VKMOE_MODEL, else the one in models/)");
}

void add_run_options(CLI::App& app, RunOptions& options, const char* context_flags) {
  add_model_option(app, options.model);
  app.add_option(
      "-d,--device", options.device,
      "index or a part of the name of a Vulkan device, see vkmoe devices (default: $VKMOE_DEVICE, else the best)");
  app.add_flag("--reference", options.reference, "compute with plain loops on the CPU instead of a Vulkan device");
  app.add_option(context_flags, options.context_tokens, "room for tokens (default: the model's own, at most 4096); more than its own works, but badly")
      ->check(CLI::PositiveNumber);
  app.add_option("--chunk", options.chunk_tokens,
                 "most prompt tokens in one pass over the model (default: chosen by vkmoe)")
      ->check(CLI::PositiveNumber);
  app.add_flag("--exact", options.exact,
               "never round activations to int8 or fp16, which passes of many tokens do where the device is faster with it, nor keys and values to fp16, as they are kept on a GPU");
}

static std::string first_gguf(const fs::path& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() == ".gguf") found.push_back(entry->path().string());
  }
  return found.empty() ? "" : *std::min_element(found.begin(), found.end());
}

std::string model_path(const std::string& given) {
  if (!given.empty()) return given;
  const char* environment = std::getenv("VKMOE_MODEL");
  if (environment && *environment) return environment;
  std::vector<fs::path> folders;
  std::error_code error;
  const fs::path program = fs::canonical("/proc/self/exe", error);
  if (!error) folders = {program.parent_path().parent_path() / "models", program.parent_path() / "models"};
  folders.push_back(fs::path(VKMOE_SOURCE_DIR) / "models");
  for (const fs::path& folder : folders) {
    if (std::string path = first_gguf(folder); !path.empty()) return path;
  }
  throw Failure("no model named with --model or VKMOE_MODEL, and found no models/*.gguf beside the program");
}

// The library does without a cache where its folder cannot be used; one that was asked for must work.
static void check_cache_folder() {
  const char* folder = std::getenv("VKMOE_CACHE_DIR");
  if (!folder || !*folder) return;
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error) fs::directory_iterator readable(folder, error);
  if (error) throw Failure(std::string("VKMOE_CACHE_DIR: ") + folder + ": cannot be used: " + error.message());
}

LoadedModel load_model(const RunOptions& options) {
  LoadedModel loaded;
  const std::string path = model_path(options.model);
  if (!options.reference) {
    check_cache_folder();
    vkmoe_device* device = nullptr;
    check(vkmoe_device_open(options.device.empty() ? nullptr : options.device.c_str(), &device));
    loaded.device.reset(device);
  }
  ProgressBar bar("loading " + fs::path(path).filename().string());
  vkmoe_load_options load;
  vkmoe_load_options_init(&load);
  load.reference = options.reference;
  load.chat = options.chat;
  load.progress_user = &bar;
  load.progress = [](void* user, uint64_t done_bytes, uint64_t total_bytes) {
    static_cast<ProgressBar*>(user)->update(total_bytes ? double(done_bytes) / double(total_bytes) : 1);
    return 0;
  };
  Stopwatch watch;
  vkmoe_model* model = nullptr;
  const vkmoe_status status = vkmoe_model_load(loaded.device.get(), path.c_str(), &load, &model);
  bar.clear();
  check(status);
  loaded.model.reset(model);
  loaded.load_seconds = watch.seconds();
  return loaded;
}

Session open_session(vkmoe_model* model, const RunOptions& options, bool profile, bool routing) {
  vkmoe_session_options session_options;
  vkmoe_session_options_init(&session_options);
  session_options.context_tokens = options.context_tokens;
  session_options.chunk_tokens = options.chunk_tokens;
  session_options.profile = profile;
  session_options.routing = routing;
  session_options.exact = options.exact;
  vkmoe_session* session = nullptr;
  check(vkmoe_session_open(model, &session_options, &session));
  return Session(session);
}

std::vector<int32_t> tokenize(const vkmoe_model* model, std::string_view text, uint32_t flags) {
  std::vector<int32_t> ids(text.size() + 8);
  size_t count = 0;
  check(vkmoe_tokenize(model, text.data(), text.size(), flags, ids.data(), ids.size(), &count));
  if (count > ids.size()) {
    ids.resize(count);
    check(vkmoe_tokenize(model, text.data(), text.size(), flags, ids.data(), ids.size(), &count));
  }
  ids.resize(count);
  return ids;
}

std::string token_bytes(const vkmoe_model* model, int32_t id, bool special) {
  std::string bytes(64, '\0');
  size_t count = 0;
  check(vkmoe_token_bytes(model, id, special, bytes.data(), bytes.size(), &count));
  if (count > bytes.size()) {
    bytes.resize(count);
    check(vkmoe_token_bytes(model, id, special, bytes.data(), bytes.size(), &count));
  }
  bytes.resize(count);
  return bytes;
}

std::vector<int32_t> decoder_prompt(const vkmoe_model* model) {
  size_t count = 0;
  check(vkmoe_model_decoder_prompt(model, nullptr, 0, &count));
  std::vector<int32_t> ids(count);
  check(vkmoe_model_decoder_prompt(model, ids.data(), ids.size(), &count));
  return ids;
}

void check_fits(const vkmoe_session* session, size_t count, const std::string& what) {
  const uint32_t capacity_tokens = vkmoe_session_capacity_tokens(session);
  if (count > capacity_tokens) {
    throw Failure(what + " has " + std::to_string(count) + " tokens, but the context has room for " +
                  std::to_string(capacity_tokens) + " (--context)");
  }
}

nlohmann::json take_json(char* text) {
  const std::unique_ptr<char, void (*)(char*)> owner(text, vkmoe_string_free);
  return nlohmann::json::parse(text);
}

nlohmann::json session_stats(vkmoe_session* session) {
  char* text = nullptr;
  check(vkmoe_session_stats_json(session, &text));
  return take_json(text);
}

std::vector<int32_t> parse_ids(const std::string& name, const std::string& text, uint32_t vocab_size) {
  static const char* const space = " \t\r\n\f\v";
  std::vector<int32_t> ids;
  size_t begin = text.find_first_not_of(space);
  while (begin != std::string::npos) {
    const size_t end = std::min(text.find_first_of(space, begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    int32_t id = -1;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    const std::string where = name + ": id " + std::to_string(ids.size()) + " (counted from 0)";
    if (error == std::errc::invalid_argument || stop != word.data() + word.size()) {
      throw Failure(where + ": expected a token id, found \"" + word.substr(0, 40) + "\"");
    }
    if (error != std::errc() || id < 0 || uint32_t(id) >= vocab_size) {
      throw Failure(where + " is " + word.substr(0, 40) + ", but the vocabulary has ids 0 to " +
                    std::to_string(vocab_size - 1));
    }
    ids.push_back(id);
    begin = text.find_first_not_of(space, end);
  }
  if (ids.empty()) throw Failure(name + ": holds no token ids");
  return ids;
}

static std::string scaled(double value, const char* const* units, const char* space) {
  while (value >= 999.95 && units[1]) value /= 1000, ++units;
  return fixed(value, **units ? 1 : 0) + (**units ? space : "") + *units;
}

std::string count_text(double count) {
  static const char* const units[] = {"", "thousand", "million", "billion", "trillion", nullptr};
  return scaled(count, units, " ");
}

std::string bytes_text(double bytes) {
  static const char* const units[] = {"", "kB", "MB", "GB", "TB", nullptr};
  return scaled(bytes, units, " ") + (bytes < 999.95 ? " bytes" : "");
}
