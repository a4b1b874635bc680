// The C API of include/vkmoe/vkmoe.h.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "api/handles.h"
#include "loader/chat_template.h"
#include "moe/device_session.h"
#include "moe/ref/ref.h"
#include "moe/roofline.h"

using namespace vkmoe;

namespace {

thread_local std::string last_error;

constexpr uint32_t default_context = 4096;

uint32_t context_of(const Hyper& h, uint32_t asked) {
  return asked ? asked : std::min(h.context_tokens, default_context);
}

const Tokenizer& tokenizer_of(const vkmoe_model* model) {
  need(model, "model");
  if (!model->tokenizer) fail(VKMOE_ERROR_UNSUPPORTED, model->tokenizer_error);
  return *model->tokenizer;
}

std::vector<int32_t> tokenize(const Tokenizer& tokenizer, const char* text, size_t text_bytes, uint32_t flags) {
  if (text_bytes) need(text, "text");
  if (flags & ~uint32_t(VKMOE_TOKENIZE_SPECIAL | VKMOE_TOKENIZE_BOS | VKMOE_TOKENIZE_EOS))
    fail(VKMOE_ERROR_INVALID_ARGUMENT, "flags: expected VKMOE_TOKENIZE_* values, found ", flags);
  std::vector<int32_t> ids = tokenizer.encode({text ? text : "", text_bytes}, flags & VKMOE_TOKENIZE_SPECIAL);
  if ((flags & VKMOE_TOKENIZE_BOS) && tokenizer.add_bos && tokenizer.bos >= 0) ids.insert(ids.begin(), tokenizer.bos);
  bool ended = !ids.empty() && std::find(tokenizer.end_ids.begin(), tokenizer.end_ids.end(), ids.back()) != tokenizer.end_ids.end();
  if ((flags & VKMOE_TOKENIZE_EOS) && !ended && !tokenizer.end_ids.empty()) ids.push_back(tokenizer.end_ids[0]);
  return ids;
}

std::unique_ptr<vkmoe_model> load(vkmoe_device* device, const std::shared_ptr<ModelFile>& file,
                                  const vkmoe_load_options* options) {
  vkmoe_load_options chosen;
  vkmoe_load_options_init(&chosen);
  if (options) std::memcpy(&chosen, options, std::min(options->size_bytes, sizeof(chosen)));
  if (!chosen.reference) need(device, "device");
  auto made = std::make_unique<vkmoe_model>();
  auto spec = std::make_shared<ModelSpec>(read_model_spec(file));
  try {
    made->tokenizer = Tokenizer::load(*file);
  } catch (const Error& error) {
    if (error.status != VKMOE_ERROR_UNSUPPORTED && error.status != VKMOE_ERROR_NOT_FOUND) throw;
    made->tokenizer_error = error.what();  // ids still work
  }
  if (chosen.chat && tokenizer_of(made.get()).chat_template.empty())
    fail(VKMOE_ERROR_UNSUPPORTED, file->path, ": the model has no chat template; vkmoe run works with any");
  if (chosen.reference) {
    made->reference = spec;
    return made;
  }
  // In the background, while weights are uploaded.
  compile_for_session(*model_shapes(device->device, *spec), context_of(spec->hyper, 0), 0);
  made->model = place_model(device->device, *spec, [&](uint64_t done, uint64_t total) {
    if (chosen.progress && chosen.progress(chosen.progress_user, done, total) != 0)
      fail(VKMOE_ERROR_CANCELLED, "loading was cancelled");
  });
  return made;
}

SampleRule sample_rule(const vkmoe_sampling* sampling) {
  vkmoe_sampling s;
  vkmoe_sampling_init(&s);
  if (sampling) std::memcpy(&s, sampling, std::min(sampling->size_bytes, sizeof(s)));
  auto check = [](bool good, const char* name, float found, const char* expected) {
    if (!good) fail(VKMOE_ERROR_INVALID_ARGUMENT, name, ": expected ", expected, ", found ", found);
  };
  check(s.temperature >= 0 && s.temperature <= 100, "temperature", s.temperature, "0 to 100");
  check(s.top_p > 0 && s.top_p <= 1, "top_p", s.top_p, "above 0, at most 1");
  check(s.min_p >= 0 && s.min_p <= 1, "min_p", s.min_p, "0 to 1");
  check(s.repetition_penalty > 0 && s.repetition_penalty <= 100, "repetition_penalty", s.repetition_penalty,
        "above 0, at most 100");
  check(s.repetition_last <= PENALTY_MOST, "repetition_last", float(s.repetition_last), "at most 256");
  return {s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty, s.repetition_last, uint32_t(s.seed),
          uint32_t(s.seed >> 32)};
}

Session& session_of(vkmoe_session* session) {
  need(session, "session");
  return *session->session;
}

}  // namespace

void vkmoe::set_last_error(const std::string& message) { last_error = message; }

char* vkmoe::new_string(const std::string& text) {
  char* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (!copy) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

extern "C" {

const char* vkmoe_version(void) { return VKMOE_VERSION; }
const char* vkmoe_last_error(void) { return last_error.c_str(); }
void vkmoe_string_free(char* text) { std::free(text); }

vkmoe_status vkmoe_devices_json(char** text) {
  return guard([&] {
    need(text, "text");
    *text = new_string(list_devices().dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  });
}

vkmoe_status vkmoe_device_open(const char* selector, vkmoe_device** device) {
  return guard([&] {
    need(device, "device");
    *device = nullptr;
    if (!selector) selector = std::getenv("VKMOE_DEVICE");
    *device = new vkmoe_device{Device::open(selector ? selector : "")};
  });
}

void vkmoe_device_close(vkmoe_device* device) { delete device; }

const char* vkmoe_device_name(const vkmoe_device* device) { return device ? device->device->caps().name.c_str() : ""; }

vkmoe_status vkmoe_device_roofline_json(vkmoe_device* device, char** text) {
  return guard([&] {
    need(device, "device");
    need(text, "text");
    *text = nullptr;
    Roofline roofline = measure_roofline(*device->device);
    nlohmann::ordered_json json = {{"read_bytes_per_second", roofline.read_bytes_per_second},
                                   {"flops_per_second", roofline.flops_per_second}};
    *text = new_string(json.dump(2));
  });
}

void vkmoe_load_options_init(vkmoe_load_options* options) {
  if (options) *options = {sizeof(vkmoe_load_options), nullptr, nullptr, 0, 0};
}

vkmoe_status vkmoe_model_load(vkmoe_device* device, const char* path, const vkmoe_load_options* options,
                              vkmoe_model** model) {
  return guard([&] {
    need(model, "model");
    *model = nullptr;
    need(path, "path");
    *model = load(device, ModelFile::open(path), options).release();
  });
}

vkmoe_status vkmoe_model_load_fd(vkmoe_device* device, int fd, uint64_t offset_bytes, uint64_t length_bytes,
                                 const vkmoe_load_options* options, vkmoe_model** model) {
  return guard([&] {
    need(model, "model");
    *model = nullptr;
    auto file = MappedFile::open_fd(fd, offset_bytes, length_bytes, cat("file descriptor ", fd));
    *model = load(device, ModelFile::open_gguf(file), options).release();
  });
}

void vkmoe_model_close(vkmoe_model* model) { delete model; }

uint32_t vkmoe_model_vocab_size(const vkmoe_model* model) { return model ? model->hyper().vocab : 0; }
uint32_t vkmoe_model_context_tokens(const vkmoe_model* model) { return model ? model->hyper().context_tokens : 0; }

vkmoe_status vkmoe_model_decoder_prompt(const vkmoe_model* model, int32_t* ids, size_t capacity, size_t* count) {
  return guard([&] {
    need(model, "model");
    need(count, "count");
    if (capacity) need(ids, "ids");
    const std::vector<int32_t>& prompt = model->hyper().decoder_prompt;
    std::copy_n(prompt.begin(), std::min(capacity, prompt.size()), ids);
    *count = prompt.size();
  });
}

vkmoe_status vkmoe_models_json(char** text) {
  return guard([&] {
    need(text, "text");
    *text = nullptr;
    *text = new_string(models_json());
  });
}

vkmoe_status vkmoe_inspect_json(const char* path, uint32_t context_tokens, char** text) {
  return guard([&] {
    need(path, "path");
    need(text, "text");
    *text = new_string(inspect_json(path, context_tokens));
  });
}

vkmoe_status vkmoe_tokenize(const vkmoe_model* model, const char* text, size_t text_bytes, uint32_t flags, int32_t* ids,
                            size_t capacity, size_t* count) {
  return guard([&] {
    need(count, "count");
    if (capacity) need(ids, "ids");
    std::vector<int32_t> made = tokenize(tokenizer_of(model), text, text_bytes, flags);
    std::copy_n(made.begin(), std::min(capacity, made.size()), ids);
    *count = made.size();
  });
}

vkmoe_status vkmoe_token_bytes(const vkmoe_model* model, int32_t id, int special, char* bytes, size_t capacity,
                               size_t* count) {
  return guard([&] {
    need(count, "count");
    if (capacity) need(bytes, "bytes");
    const Tokenizer& tokenizer = tokenizer_of(model);
    // A model's output may be wider than its tokenizer: such ids have no bytes.
    if (id < 0 || uint32_t(id) >= std::max(tokenizer.vocab_size(), model->hyper().vocab))
      fail(VKMOE_ERROR_INVALID_ARGUMENT, "id ", id, " is outside of the vocabulary of ", tokenizer.vocab_size());
    std::string text = uint32_t(id) < tokenizer.vocab_size() ? tokenizer.token_bytes(id, special != 0) : "";
    std::copy_n(text.begin(), std::min(capacity, text.size()), bytes);
    *count = text.size();
  });
}

int vkmoe_token_ends(const vkmoe_model* model, int32_t id) {
  if (!model || !model->tokenizer) return 0;
  const std::vector<int32_t>& ends = model->tokenizer->end_ids;
  return std::find(ends.begin(), ends.end(), id) != ends.end();
}

vkmoe_status vkmoe_tokenize_with(const char* model_path, const char* text, size_t text_bytes, uint32_t flags,
                                 int32_t** ids, size_t* count) {
  return guard([&] {
    need(model_path, "model_path");
    need(ids, "ids");
    need(count, "count");
    std::vector<int32_t> made = tokenize(*Tokenizer::load(*ModelFile::open(model_path)), text, text_bytes, flags);
    *ids = static_cast<int32_t*>(std::malloc(std::max<size_t>(made.size(), 1) * sizeof(int32_t)));
    if (!*ids) throw std::bad_alloc();
    std::copy(made.begin(), made.end(), *ids);
    *count = made.size();
  });
}

void vkmoe_ids_free(int32_t* ids) { std::free(ids); }

vkmoe_status vkmoe_detokenize_with(const char* model_path, const int32_t* ids, size_t count, int special, char** text,
                                   size_t* text_bytes) {
  return guard([&] {
    need(model_path, "model_path");
    if (count) need(ids, "ids");
    need(text, "text");
    need(text_bytes, "text_bytes");
    auto tokenizer = Tokenizer::load(*ModelFile::open(model_path));
    std::vector<int32_t> all(ids, ids + count);
    for (int32_t id : all)
      if (id < 0 || uint32_t(id) >= tokenizer->vocab_size())
        fail(VKMOE_ERROR_INVALID_ARGUMENT, "id ", id, " is outside of the vocabulary of ", tokenizer->vocab_size());
    std::string made = tokenizer->decode(all, special != 0);
    *text = static_cast<char*>(std::malloc(made.size() + 1));
    if (!*text) throw std::bad_alloc();
    std::memcpy(*text, made.c_str(), made.size() + 1);
    *text_bytes = made.size();
  });
}

int vkmoe_model_has_chat_template(const vkmoe_model* model) {
  return model && model->tokenizer && !model->tokenizer->chat_template.empty();
}

vkmoe_status vkmoe_chat_format(const vkmoe_model* model, const vkmoe_message* messages, size_t count,
                               int add_generation_prompt, char** text) {
  return guard([&] {
    need(text, "text");
    if (count) need(messages, "messages");
    const Tokenizer& tokenizer = tokenizer_of(model);
    if (tokenizer.chat_template.empty()) fail(VKMOE_ERROR_UNSUPPORTED, "the model has no chat template");
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (size_t i = 0; i < count; ++i) {
      need(messages[i].role, "role");
      need(messages[i].content, "content");
      list.push_back({{"role", messages[i].role}, {"content", messages[i].content}});
      if (messages[i].reasoning) list.back()["reasoning_content"] = messages[i].reasoning;
    }
    nlohmann::ordered_json variables = {{"messages", list},
                                        {"add_generation_prompt", add_generation_prompt != 0},
                                        {"bos_token", tokenizer.bos_text},
                                        {"eos_token", tokenizer.eos_text}};
    *text = new_string(render_chat_template(tokenizer.chat_template, variables));
  });
}

void vkmoe_session_options_init(vkmoe_session_options* options) {
  if (options) *options = {sizeof(vkmoe_session_options), 0, 0, 0, 0, 0};
}

vkmoe_status vkmoe_session_open(vkmoe_model* model, const vkmoe_session_options* options, vkmoe_session** session) {
  return guard([&] {
    need(session, "session");
    *session = nullptr;
    need(model, "model");
    vkmoe_session_options chosen;
    vkmoe_session_options_init(&chosen);
    if (options) std::memcpy(&chosen, options, std::min(options->size_bytes, sizeof(chosen)));
    uint32_t context = context_of(model->hyper(), chosen.context_tokens);
    auto made = std::make_unique<vkmoe_session>();
    made->model = model;
    if (model->model)
      made->session = std::make_unique<DeviceSession>(model->model, context, chosen.chunk_tokens, chosen.profile != 0,
                                                      chosen.exact != 0);
    else
      made->session = std::make_unique<ref::RefSession>(model->reference, context);
    if (chosen.routing) made->session->watch_routing(model->hyper());
    *session = made.release();
  });
}

void vkmoe_session_close(vkmoe_session* session) { delete session; }

uint32_t vkmoe_session_capacity_tokens(const vkmoe_session* session) { return session ? session->session->capacity() : 0; }
uint32_t vkmoe_session_position_tokens(const vkmoe_session* session) { return session ? session->session->position() : 0; }

vkmoe_status vkmoe_session_rewind(vkmoe_session* session, uint32_t position_tokens) {
  return guard([&] { session_of(session).rewind(position_tokens); });
}

vkmoe_status vkmoe_session_encode(vkmoe_session* session, const int32_t* ids, size_t count) {
  return guard([&] {
    if (count) need(ids, "ids");
    session_of(session).encode(ids, count);
  });
}

vkmoe_status vkmoe_session_feed(vkmoe_session* session, const int32_t* ids, size_t count) {
  return guard([&] {
    if (count) need(ids, "ids");
    session_of(session).feed(ids, count, nullptr);
  });
}

vkmoe_status vkmoe_session_feed_logits(vkmoe_session* session, const int32_t* ids, size_t count, float* logits) {
  return guard([&] {
    if (count) need(ids, "ids");
    if (count) need(logits, "logits");
    session_of(session).feed(ids, count, logits);
  });
}

vkmoe_status vkmoe_session_logits(vkmoe_session* session, float* logits) {
  return guard([&] {
    need(logits, "logits");
    session_of(session).logits(logits);
  });
}

void vkmoe_sampling_init(vkmoe_sampling* sampling) {
  if (sampling) *sampling = {sizeof(vkmoe_sampling), 0.0f, 0, 1.0f, 0.0f, 1.0f, 64, 0};
}

vkmoe_status vkmoe_session_sample(vkmoe_session* session, const vkmoe_sampling* sampling, int32_t* id) {
  return guard([&] {
    need(id, "id");
    *id = session_of(session).sample(sample_rule(sampling));
  });
}

vkmoe_status vkmoe_session_generate(vkmoe_session* session, const vkmoe_sampling* sampling, uint32_t max_tokens,
                                    vkmoe_on_token on_token, void* user, uint32_t* made) {
  uint32_t count = 0;
  vkmoe_status status = guard([&] {
    session_of(session).generate(sample_rule(sampling), max_tokens, [&](int32_t id) {
      ++count;
      bool stop = on_token && on_token(user, id) != 0;
      return stop || vkmoe_token_ends(session->model, id) != 0;
    });
  });
  if (made) *made = count;
  return status;
}

void vkmoe_session_cancel(vkmoe_session* session) {
  if (session) session->session->cancel();
}

vkmoe_status vkmoe_session_stats_json(vkmoe_session* session, char** text) {
  return guard([&] {
    need(text, "text");
    *text = new_string(session_of(session).stats().dump(2));
  });
}

}  // extern "C"
