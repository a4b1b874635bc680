/* Uses the library as a C program would: include/vkmoe/vkmoe.h and nothing else of vkmoe.
 * usage: c_api_test SOURCE_DIR SCRATCH_DIR */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include "vkmoe/vkmoe.h"

static int failures, checks;
static const char *source_dir, *scratch_dir;

#define EXPECT(condition) expect((condition), #condition, __LINE__)
#define EXPECT_STATUS(status, call) expect_status((status), (call), #call, __LINE__)

static int expect(int good, const char *what, int line) {
  ++checks;
  if (!good) {
    ++failures;
    fprintf(stderr, "c_api_test.c:%d: failed: %s\n", line, what);
  }
  return good;
}

/* A failing call must also leave a message. */
static int expect_status(vkmoe_status expected, vkmoe_status found, const char *what, int line) {
  int good = expected == found && (found == VKMOE_OK || vkmoe_last_error()[0] != 0);
  if (!good) {
    fprintf(stderr, "c_api_test.c:%d: expected status %d, found %d (%s)\n", line, expected, found, vkmoe_last_error());
  }
  return expect(good, what, line);
}

static void stop(const char *what) {
  fprintf(stderr, "c_api_test.c: cannot go on: %s (%s)\n", what, vkmoe_last_error());
  exit(1);
}

/* ---- files ---- */

static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) stop(path);
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  char *bytes = malloc(*size + 1);
  if (fread(bytes, 1, *size, file) != *size) stop(path);
  bytes[*size] = 0;
  fclose(file);
  return bytes;
}

static const char *source_path(const char *name) {
  static char path[4096];
  snprintf(path, sizeof path, "%s/%s", source_dir, name);
  return path;
}

enum { MOST_IDS = 600 };
typedef struct ids {
  int32_t at[MOST_IDS];
  size_t count;
} ids;

/* The first list of numbers after "key": in a JSON text. */
static ids json_ids(const char *json, const char *key) {
  ids list = {{0}, 0};
  const char *at = strstr(json, key);
  if (!at) stop(key);
  at = strchr(at, '[') + 1;
  while (list.count < MOST_IDS) {
    char *end;
    long value = strtol(at, &end, 10);
    if (end == at) break;
    list.at[list.count++] = (int32_t)value;
    at = end + strspn(end, ", \r\n");
  }
  return list;
}

/* The data of an array of a safetensors file. */
static const char *safetensors_array(const char *bytes, const char *name, size_t *size_bytes) {
  uint64_t header_bytes;
  memcpy(&header_bytes, bytes, 8);
  const char *key = strstr(bytes + 8, name);
  if (!key) stop(name);
  const char *offsets = strstr(key, "\"data_offsets\":[");
  if (!offsets) stop(name);
  char *end;
  unsigned long long begin = strtoull(offsets + 16, &end, 10), last = strtoull(end + 1, NULL, 10);
  *size_bytes = (size_t)(last - begin);
  return bytes + 8 + header_bytes + begin;
}

/* ---- what several tests use ---- */

static vkmoe_model *load(vkmoe_device *device, const char *path, int reference) {
  vkmoe_load_options options;
  vkmoe_load_options_init(&options);
  options.reference = reference;
  vkmoe_model *model = NULL;
  if (vkmoe_model_load(device, path, &options, &model) != VKMOE_OK) stop(path);
  return model;
}

static vkmoe_session *open_session(vkmoe_model *model, uint32_t context_tokens) {
  vkmoe_session_options options;
  vkmoe_session_options_init(&options);
  options.context_tokens = context_tokens;
  vkmoe_session *session = NULL;
  if (vkmoe_session_open(model, &options, &session) != VKMOE_OK) stop("vkmoe_session_open");
  return session;
}

static int collect(void *user, int32_t id) {
  ids *list = user;
  if (list->count < MOST_IDS) list->at[list->count++] = id;
  return 0;
}

static int same(const ids *a, const ids *b) {
  return a->count == b->count && memcmp(a->at, b->at, a->count * sizeof a->at[0]) == 0;
}

/* ---- tests ---- */

static void test_devices(void) {
  char *text = NULL;
  EXPECT_STATUS(VKMOE_OK, vkmoe_devices_json(&text));
  EXPECT(text && text[0] == '[' && strstr(text, "\"name\"") != NULL);
  vkmoe_string_free(text);
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_devices_json(NULL));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_device_roofline_json(NULL, &text));
  EXPECT_STATUS(VKMOE_OK, vkmoe_models_json(&text));
  EXPECT(text && strstr(text, "\"families\"") != NULL);
  vkmoe_string_free(text);
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_models_json(NULL));

  vkmoe_device *device = (vkmoe_device *)&device;
  EXPECT_STATUS(VKMOE_ERROR_NO_DEVICE, vkmoe_device_open("no such device", &device));
  EXPECT(strstr(vkmoe_last_error(), "no such device") != NULL);
  EXPECT(device == NULL);
  EXPECT_STATUS(VKMOE_ERROR_NO_DEVICE, vkmoe_device_open("99", &device));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_device_open(NULL, NULL));
}

static void test_null_handles(void) {
  int32_t id = 0;
  size_t count = 0;
  float logit = 0;
  char *text = NULL;
  vkmoe_session *session = NULL;
  vkmoe_model *model = NULL;
  vkmoe_device_close(NULL);
  vkmoe_model_close(NULL);
  vkmoe_session_close(NULL);
  vkmoe_string_free(NULL);
  vkmoe_ids_free(NULL);
  vkmoe_session_cancel(NULL);
  vkmoe_load_options_init(NULL);
  vkmoe_session_options_init(NULL);
  vkmoe_sampling_init(NULL);
  EXPECT(vkmoe_device_name(NULL) != NULL);
  EXPECT(vkmoe_model_vocab_size(NULL) == 0 && vkmoe_model_context_tokens(NULL) == 0);
  EXPECT(vkmoe_session_capacity_tokens(NULL) == 0 && vkmoe_session_position_tokens(NULL) == 0);
  EXPECT(vkmoe_token_ends(NULL, 0) == 0 && vkmoe_model_has_chat_template(NULL) == 0);
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_model_load(NULL, NULL, NULL, &model));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_inspect_json(NULL, 0, &text));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_tokenize(NULL, "a", 1, 0, &id, 1, &count));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_token_bytes(NULL, 0, 0, NULL, 0, &count));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_chat_format(NULL, NULL, 0, 1, &text));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_open(NULL, NULL, &session));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_feed(NULL, &id, 1));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_feed_logits(NULL, &id, 1, &logit));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_logits(NULL, &logit));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_sample(NULL, NULL, &id));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_generate(NULL, NULL, 1, NULL, NULL, NULL));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_rewind(NULL, 0));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_stats_json(NULL, &text));
}

typedef struct load_progress {
  uint64_t done, total;
  int calls, backwards, cancel;
} load_progress;

static int on_progress(void *user, uint64_t done_bytes, uint64_t total_bytes) {
  load_progress *progress = user;
  if (done_bytes < progress->done || done_bytes > total_bytes) progress->backwards = 1;
  progress->done = done_bytes;
  progress->total = total_bytes;
  ++progress->calls;
  return progress->cancel;
}

static vkmoe_model *test_load(vkmoe_device *device, const char *path) {
  vkmoe_load_options options;
  vkmoe_load_options_init(&options);
  load_progress progress = {0, 0, 0, 0, 1};
  options.progress = on_progress;
  options.progress_user = &progress;
  vkmoe_model *model = (vkmoe_model *)&progress;
  EXPECT_STATUS(VKMOE_ERROR_CANCELLED, vkmoe_model_load(device, path, &options, &model));
  EXPECT(model == NULL && progress.calls == 1);
  EXPECT_STATUS(VKMOE_ERROR_NOT_FOUND, vkmoe_model_load(device, "/no/such/model.gguf", NULL, &model));
  EXPECT(strstr(vkmoe_last_error(), "/no/such/model.gguf") != NULL && model == NULL);
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_model_load(NULL, path, NULL, &model));

  memset(&progress, 0, sizeof progress);
  options.chat = 1;
  const char *no_chat = source_path("tests/data/goldens/dots1");
  EXPECT_STATUS(VKMOE_ERROR_UNSUPPORTED, vkmoe_model_load(device, no_chat, &options, &model));
  EXPECT(strstr(vkmoe_last_error(), "chat template") != NULL && model == NULL && progress.calls == 0);
  EXPECT_STATUS(VKMOE_OK, vkmoe_model_load(device, path, &options, &model));
  EXPECT(progress.calls > 1 && !progress.backwards && progress.done == progress.total && progress.total > 0);
  if (!model) stop("the default model does not load");
  return model;
}

static void test_text(const vkmoe_model *model) {
  /* Letters of two, three and four bytes, a byte that is no UTF-8, and text that looks like a special token. */
  static const char text[] = "A lighthouse\xC3\xB6 \xE2\x82\xAC \xF0\x9F\x98\x80\n\xFF<|im_end|>  def f():";
  const size_t text_bytes = sizeof text - 1;
  int32_t list[sizeof text];
  size_t count = 0, again = 0, made = 0;
  EXPECT_STATUS(VKMOE_OK, vkmoe_tokenize(model, text, text_bytes, 0, NULL, 0, &count));
  EXPECT(count > 0 && count <= text_bytes);
  EXPECT_STATUS(VKMOE_OK, vkmoe_tokenize(model, text, text_bytes, 0, list, sizeof text, &again));
  EXPECT(again == count);
  char back[256];
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    EXPECT_STATUS(VKMOE_OK, vkmoe_token_bytes(model, list[i], 0, back + at, sizeof back - at, &made));
    at += made;
  }
  EXPECT(at == text_bytes && memcmp(back, text, at) == 0);
  EXPECT_STATUS(VKMOE_OK, vkmoe_tokenize(model, text, text_bytes, VKMOE_TOKENIZE_SPECIAL, NULL, 0, &again));
  EXPECT(again < count); /* <|im_end|> is one token there */
  EXPECT_STATUS(VKMOE_OK, vkmoe_tokenize(model, "<|im_end|>", 10, VKMOE_TOKENIZE_SPECIAL, list, 1, &again));
  EXPECT(again == 1 && vkmoe_token_ends(model, list[0]) == 1);
  EXPECT_STATUS(VKMOE_OK, vkmoe_token_bytes(model, list[0], 0, back, sizeof back, &made));
  EXPECT(made == 0);
  EXPECT_STATUS(VKMOE_OK, vkmoe_token_bytes(model, list[0], 1, back, sizeof back, &made));
  EXPECT(made == 10 && memcmp(back, "<|im_end|>", 10) == 0);
  const int32_t vocab_size = (int32_t)vkmoe_model_vocab_size(model);
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_token_bytes(model, vocab_size, 0, NULL, 0, &made));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_token_bytes(model, -1, 0, NULL, 0, &made));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_tokenize(model, NULL, 3, 0, NULL, 0, &made));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_tokenize(model, text, text_bytes, 0, NULL, 5, &made));
}

/* The five answers that transformers gives, greedily. */
static void test_greedy_answers(vkmoe_model *model, const char *path, const char *reference) {
  vkmoe_session *session = open_session(model, 0);
  EXPECT(vkmoe_session_capacity_tokens(session) == vkmoe_model_context_tokens(model));
  int answers = 0;
  for (const char *at = strstr(reference, "\"question\""); at; at = strstr(at + 1, "\"question\"")) {
    const ids prompt = json_ids(at, "\"prompt_ids\""), answer = json_ids(at, "\"answer_ids\"");
    ids found = {{0}, 0};
    uint32_t made = 0;
    EXPECT_STATUS(VKMOE_OK, vkmoe_session_rewind(session, 0));
    EXPECT_STATUS(VKMOE_OK, vkmoe_session_feed(session, prompt.at, prompt.count));
    EXPECT_STATUS(VKMOE_OK, vkmoe_session_generate(session, NULL, 48, collect, &found, &made));
    EXPECT(made == found.count && found.count > 0 && vkmoe_token_ends(model, found.at[found.count - 1]));
    --found.count;
    EXPECT(same(&found, &answer));
    ++answers;
  }
  EXPECT(answers == 5);

  /* The first question again, by the model's own template. */
  const vkmoe_message message = {"user", "What is a lighthouse?"};
  char *text = NULL;
  ids prompt = {{0}, 0};
  EXPECT(vkmoe_model_has_chat_template(model));
  EXPECT_STATUS(VKMOE_OK, vkmoe_chat_format(model, &message, 1, 1, &text));
  EXPECT_STATUS(VKMOE_OK,
                vkmoe_tokenize(model, text, strlen(text), VKMOE_TOKENIZE_SPECIAL, prompt.at, MOST_IDS, &prompt.count));
  const ids expected = json_ids(reference, "\"prompt_ids\"");
  EXPECT(same(&prompt, &expected));

  int32_t *list = NULL;
  size_t count = 0;
  EXPECT_STATUS(VKMOE_OK, vkmoe_tokenize_with(path, text, strlen(text), VKMOE_TOKENIZE_SPECIAL, &list, &count));
  EXPECT(count == prompt.count && memcmp(list, prompt.at, count * sizeof *list) == 0);
  char *back = NULL;
  size_t back_bytes = 0;
  EXPECT_STATUS(VKMOE_OK, vkmoe_detokenize_with(path, list, count, 1, &back, &back_bytes));
  EXPECT(back_bytes == strlen(text) && strcmp(back, text) == 0);
  vkmoe_string_free(back);
  list[0] = -1;
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_detokenize_with(path, list, 1, 1, &back, &back_bytes));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_detokenize_with(path, NULL, 1, 1, &back, &back_bytes));
  vkmoe_ids_free(list);
  vkmoe_string_free(text);
  vkmoe_session_close(session);
}

static void test_session(vkmoe_model *model, const ids *prompt) {
  const uint32_t vocab_size = vkmoe_model_vocab_size(model);
  const uint32_t count = (uint32_t)prompt->count;
  float *logits = malloc(vocab_size * sizeof(float)), *rows = malloc((size_t)count * vocab_size * sizeof(float));
  vkmoe_session *session = open_session(model, 32);
  int32_t id = -1;
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_sample(session, NULL, &id)); /* nothing was fed */

  EXPECT_STATUS(VKMOE_OK, vkmoe_session_feed(session, prompt->at, count));
  EXPECT(vkmoe_session_position_tokens(session) == count);
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_logits(session, logits));
  uint32_t best = 0;
  for (uint32_t i = 1; i < vocab_size; ++i) {
    if (logits[i] > logits[best]) best = i;
  }
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_sample(session, NULL, &id));
  EXPECT(id == (int32_t)best && vkmoe_session_position_tokens(session) == count);

  /* Rewound and fed again in two parts, with all logits: the same bits. */
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_rewind(session, count + 1));
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_rewind(session, 3));
  EXPECT(vkmoe_session_position_tokens(session) == 3);
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_feed_logits(session, prompt->at + 3, count - 3, rows));
  EXPECT(memcmp(rows + (size_t)(count - 4) * vocab_size, logits, vocab_size * sizeof(float)) == 0);

  const int32_t outside[] = {prompt->at[0], (int32_t)vocab_size}, negative = -1;
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_feed(session, outside, 2));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_feed(session, &negative, 1));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_feed(session, NULL, 1));
  EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_feed_logits(session, prompt->at, 1, NULL));
  EXPECT(vkmoe_session_position_tokens(session) == count);

  ids many = {{0}, 32 - count + 1};
  EXPECT_STATUS(VKMOE_ERROR_CONTEXT_FULL, vkmoe_session_feed(session, many.at, many.count));
  EXPECT(vkmoe_session_position_tokens(session) == count);
  /* Generating stops at the context's end, or before if the model ends its answer. */
  ids found = {{0}, 0};
  uint32_t made = 0;
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_generate(session, NULL, 1000, collect, &found, &made));
  EXPECT(made == found.count && made > 0 && made <= 33 - count && found.at[0] == (int32_t)best);
  EXPECT(vkmoe_session_position_tokens(session) <= 32);

  vkmoe_session *longer = open_session(model, vkmoe_model_context_tokens(model) + 1);
  EXPECT(vkmoe_session_capacity_tokens(longer) == vkmoe_model_context_tokens(model) + 1);
  vkmoe_session_close(longer);
  vkmoe_session_close(session);
  free(rows);
  free(logits);
}

static void test_sampling(vkmoe_model *model, const ids *prompt) {
  vkmoe_session *session = open_session(model, 0);
  vkmoe_sampling sampling;
  vkmoe_sampling_init(&sampling);
  sampling.temperature = 1.5f;
  sampling.top_k = 50;
  sampling.top_p = 0.99f;
  sampling.min_p = 0.001f;
  sampling.repetition_penalty = 1.1f;
  ids runs[3] = {{{0}, 0}, {{0}, 0}, {{0}, 0}};
  for (int i = 0; i < 3; ++i) {
    sampling.seed = i < 2 ? 7 : 8;
    EXPECT_STATUS(VKMOE_OK, vkmoe_session_rewind(session, 0));
    EXPECT_STATUS(VKMOE_OK, vkmoe_session_feed(session, prompt->at, prompt->count));
    EXPECT_STATUS(VKMOE_OK, vkmoe_session_generate(session, &sampling, 24, collect, &runs[i], NULL));
  }
  EXPECT(same(&runs[0], &runs[1]));
  EXPECT(!same(&runs[0], &runs[2]));

  int32_t id = 0;
  const float wrong[] = {-1.0f, NAN, INFINITY};
  for (int i = 0; i < 3; ++i) {
    vkmoe_sampling_init(&sampling);
    sampling.temperature = wrong[i];
    EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_sample(session, &sampling, &id));
    vkmoe_sampling_init(&sampling);
    sampling.top_p = wrong[i];
    EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_sample(session, &sampling, &id));
    vkmoe_sampling_init(&sampling);
    sampling.min_p = wrong[i];
    EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_sample(session, &sampling, &id));
    vkmoe_sampling_init(&sampling);
    sampling.repetition_penalty = wrong[i];
    EXPECT_STATUS(VKMOE_ERROR_INVALID_ARGUMENT, vkmoe_session_sample(session, &sampling, &id));
  }
  vkmoe_session_close(session);
}

static void *cancel_session(void *session) {
  vkmoe_session_cancel(session);
  return NULL;
}

typedef struct cancel_state {
  vkmoe_session *session;
  int calls;
} cancel_state;

/* Has another thread cancel, and waits for it: the generation must then stop, long before its limit. */
static int cancel_at_first(void *user, int32_t id) {
  cancel_state *state = user;
  (void)id;
  if (state->calls++ == 0) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, cancel_session, state->session) != 0) stop("pthread_create");
    pthread_join(thread, NULL);
  }
  return 0;
}

static int stop_at_second(void *user, int32_t id) {
  collect(user, id);
  return ((ids *)user)->count == 2;
}

static void test_cancel(vkmoe_model *model, const ids *prompt) {
  cancel_state state = {open_session(model, 0), 0};
  uint32_t made = 0;
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_feed(state.session, prompt->at, prompt->count));
  EXPECT_STATUS(VKMOE_ERROR_CANCELLED,
                vkmoe_session_generate(state.session, NULL, 400, cancel_at_first, &state, &made));
  EXPECT(state.calls > 0 && made == (uint32_t)state.calls);

  /* The session goes on afterwards, and a callback's own stop is no error. */
  ids found = {{0}, 0}, all = {{0}, 0};
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_rewind(state.session, 0));
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_feed(state.session, prompt->at, prompt->count));
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_generate(state.session, NULL, 400, stop_at_second, &found, &made));
  EXPECT(made == 2 && found.count == 2);
  /* Generating goes on where it stopped. */
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_generate(state.session, NULL, 4, collect, &found, &made));
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_rewind(state.session, 0));
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_feed(state.session, prompt->at, prompt->count));
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_generate(state.session, NULL, 6, collect, &all, &made));
  EXPECT(same(&found, &all));

  char *text = NULL;
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_stats_json(state.session, &text));
  EXPECT(text && strstr(text, "\"submits\"") && strstr(text, "\"dispatches\"") && strstr(text, "\"bytes_per_token\""));
  vkmoe_string_free(text);
  vkmoe_session_close(state.session);
}

/* Logits of a golden model against transformers': a normalised mean square error. */
static void test_golden(vkmoe_model *model, const char *folder) {
  char path[4200];
  size_t file_bytes, ids_bytes, logits_bytes;
  snprintf(path, sizeof path, "%.4000s/golden.safetensors", folder);
  char *file = read_file(path, &file_bytes);
  const char *golden_ids = safetensors_array(file, "\"input_ids\"", &ids_bytes);
  const char *golden_logits = safetensors_array(file, "\"logits\"", &logits_bytes);
  ids prompt = {{0}, ids_bytes / 8};
  for (size_t i = 0; i < prompt.count; ++i) {
    int64_t id;
    memcpy(&id, golden_ids + 8 * i, 8);
    prompt.at[i] = (int32_t)id;
  }
  const size_t values = prompt.count * vkmoe_model_vocab_size(model);
  if (!EXPECT(values * 4 == logits_bytes)) return;
  float *expected = malloc(logits_bytes), *found = malloc(logits_bytes);
  memcpy(expected, golden_logits, logits_bytes);
  vkmoe_session *session = open_session(model, 0);
  EXPECT_STATUS(VKMOE_OK, vkmoe_session_feed_logits(session, prompt.at, prompt.count, found));
  double mean = 0, error = 0, spread = 0;
  for (size_t i = 0; i < values; ++i) mean += expected[i] / (double)values;
  for (size_t i = 0; i < values; ++i) {
    error += ((double)found[i] - expected[i]) * ((double)found[i] - expected[i]);
    spread += (expected[i] - mean) * (expected[i] - mean);
  }
  printf("%s: normalised mean square error %.2e\n", folder, error / spread);
  EXPECT(error / spread < 1e-9);
  vkmoe_session_close(session);
  free(found);
  free(expected);
  free(file);
}

/* A GGUF in the middle of another file, as Android hands out assets. */
static void test_load_fd(vkmoe_device *device) {
  enum { before = 4099, after = 777 };
  char path[4096], junk[before];
  size_t size;
  memset(junk, 'x', sizeof junk);
  char *gguf = read_file(source_path("tests/data/goldens/qwen3_moe/model-q8_0.gguf"), &size);
  snprintf(path, sizeof path, "%s/c_api_test-%d.bin", scratch_dir, (int)getpid());
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(junk, 1, before, file) != before || fwrite(gguf, 1, size, file) != size ||
      fwrite(junk, 1, after, file) != after || fclose(file) != 0) {
    stop(path);
  }
  free(gguf);
  vkmoe_model *model = NULL, *none = NULL;
  int fd = open(path, O_RDONLY);
  EXPECT_STATUS(VKMOE_ERROR_BAD_FILE, vkmoe_model_load_fd(device, fd, 0, 0, NULL, &none));
  EXPECT_STATUS(VKMOE_ERROR_BAD_FILE, vkmoe_model_load_fd(device, fd, before, size / 2, NULL, &none));
  EXPECT(vkmoe_model_load_fd(device, fd, before, size + after + 1, NULL, &none) != VKMOE_OK);
  EXPECT(vkmoe_model_load_fd(device, fd, UINT64_MAX - 5, 100, NULL, &none) != VKMOE_OK);
  EXPECT(vkmoe_model_load_fd(device, -1, 0, 0, NULL, &none) != VKMOE_OK);
  EXPECT(none == NULL);
  EXPECT_STATUS(VKMOE_OK, vkmoe_model_load_fd(device, fd, before, size, NULL, &model));
  close(fd);
  unlink(path);
  if (!model) return;

  vkmoe_model *whole = load(device, source_path("tests/data/goldens/qwen3_moe/model-q8_0.gguf"), 0);
  const int32_t prompt[] = {5, 300, 77, 41, 9};
  ids found[2] = {{{0}, 0}, {{0}, 0}};
  vkmoe_model *models[2] = {model, whole};
  for (int i = 0; i < 2; ++i) {
    vkmoe_session *session = open_session(models[i], 64);
    EXPECT_STATUS(VKMOE_OK, vkmoe_session_feed(session, prompt, 5));
    EXPECT_STATUS(VKMOE_OK, vkmoe_session_generate(session, NULL, 16, collect, &found[i], NULL));
    vkmoe_session_close(session);
    vkmoe_model_close(models[i]);
  }
  EXPECT(found[0].count > 0 && same(&found[0], &found[1]));
}

static void test_inspect(const char *path) {
  char *text = NULL;
  EXPECT_STATUS(VKMOE_OK, vkmoe_inspect_json(path, 0, &text));
  EXPECT(text && strstr(text, "\"qwen3_moe\"") && strstr(text, "\"active\"") && strstr(text, "\"kv_cache_bytes\""));
  vkmoe_string_free(text);
  EXPECT_STATUS(VKMOE_ERROR_NOT_FOUND, vkmoe_inspect_json("/no/such/model.gguf", 0, &text));
}

int main(int argc, char **argv) {
  if (argc != 3) stop("usage: c_api_test SOURCE_DIR SCRATCH_DIR");
  source_dir = argv[1];
  scratch_dir = argv[2];
  char default_path[4096], golden[2][4096];
  snprintf(default_path, sizeof default_path, "%s", source_path("models/vkmoe-default.gguf"));
  snprintf(golden[0], sizeof golden[0], "%s", source_path("tests/data/goldens/mixtral"));
  snprintf(golden[1], sizeof golden[1], "%s", source_path("tests/data/goldens/qwen3_moe"));
  size_t size;
  char *reference = read_file(source_path("tests/data/reference.json"), &size);

  EXPECT(vkmoe_last_error()[0] == 0);
  EXPECT(vkmoe_version()[0] >= '0' && vkmoe_version()[0] <= '9');
  test_null_handles();
  test_devices();
  test_inspect(default_path);
  vkmoe_device *device = NULL;
  if (vkmoe_device_open(NULL, &device) != VKMOE_OK) stop("vkmoe_device_open");
  EXPECT(vkmoe_device_name(device)[0] != 0);
  vkmoe_model *model = test_load(device, default_path);
  const ids prompt = json_ids(reference, "\"prompt_ids\"");
  test_text(model);
  test_greedy_answers(model, default_path, reference);
  test_session(model, &prompt);
  test_sampling(model, &prompt);
  test_cancel(model, &prompt);
  vkmoe_model_close(model);
  test_load_fd(device);
  for (int i = 0; i < 2; ++i) {
    for (int on_reference = 0; on_reference < 2; ++on_reference) {
      vkmoe_model *small = load(on_reference ? NULL : device, golden[i], on_reference);
      test_golden(small, golden[i]);
      vkmoe_model_close(small);
    }
  }
  vkmoe_device_close(device);
  free(reference);
  printf("%d checks, %d failures\n", checks, failures);
  return failures != 0;
}
