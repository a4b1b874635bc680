/* vkmoe: runs mixture-of-experts language models on any Vulkan GPU. This header is the manual.
 *
 * A program opens a device, loads a model onto it, opens a session (one conversation with its KV cache), feeds token
 * ids and samples new ones:
 *
 *     vkmoe_device *device; vkmoe_model *model; vkmoe_session *session;
 *     vkmoe_device_open(NULL, &device);
 *     vkmoe_model_load(device, "model.gguf", NULL, &model);
 *     vkmoe_session_open(model, NULL, &session);
 *     vkmoe_tokenize(model, "Hello", 5, 0, ids, capacity, &count);
 *     vkmoe_session_feed(session, ids, count);
 *     vkmoe_session_generate(session, &sampling, 64, print_token, NULL, &made);
 *
 * Rules for every function:
 * - It returns VKMOE_OK or an error; vkmoe_last_error() then holds one line that says what was expected and what was
 *   found. No C++ exception crosses this boundary.
 * - Handles must be closed in reverse order: sessions, then their model, then its device. Closing NULL does nothing.
 * - A device, its models and their sessions may be used from one thread at a time. vkmoe_session_cancel() alone may be
 *   called from any thread. Different devices may be used from different threads.
 * - Structs carry their size in `size_bytes` so that fields can be added; the *_init functions fill in defaults.
 */
#ifndef VKMOE_H
#define VKMOE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define VKMOE_API
#else
#define VKMOE_API __attribute__((visibility("default")))
#endif

typedef enum vkmoe_status {
  VKMOE_OK = 0,
  VKMOE_ERROR_INVALID_ARGUMENT = 1, /* a NULL handle, an id outside of the vocabulary, a value out of range */
  VKMOE_ERROR_NOT_FOUND = 2,        /* no such file or folder, or it cannot be read */
  VKMOE_ERROR_BAD_FILE = 3,         /* a file that contradicts itself or its format: truncated, wrong sizes, ... */
  VKMOE_ERROR_UNSUPPORTED = 4,      /* an architecture, weight type, tokenizer or option that vkmoe does not know */
  VKMOE_ERROR_OUT_OF_MEMORY = 5,    /* host or device memory does not suffice */
  VKMOE_ERROR_NO_DEVICE = 6,        /* no Vulkan driver, no device, or none that the selector matches */
  VKMOE_ERROR_DEVICE_LOST = 7,      /* the device stopped answering; open it again */
  VKMOE_ERROR_VULKAN = 8,           /* another Vulkan call failed; the message names the call and its result */
  VKMOE_ERROR_CONTEXT_FULL = 9,     /* the tokens do not fit in the session's context */
  VKMOE_ERROR_CANCELLED = 10,       /* vkmoe_session_cancel() or a callback stopped the work */
  VKMOE_ERROR_INTERNAL = 11,        /* a defect of vkmoe */
  VKMOE_ERROR_OUT_OF_SPACE = 12     /* a file does not fit on its disk */
} vkmoe_status;

typedef struct vkmoe_device vkmoe_device;
typedef struct vkmoe_model vkmoe_model;
typedef struct vkmoe_session vkmoe_session;

/* The version of the library, such as "0.1.0". */
VKMOE_API const char *vkmoe_version(void);

/* The message of the last call that failed on this thread; "" when none did. Valid until the next failing call. */
VKMOE_API const char *vkmoe_last_error(void);

/* ---- strings returned by the library -------------------------------------------------------------------------- */

/* Several functions below return a new UTF-8 string (with NUL at its end) in *text; release it with this. */
VKMOE_API void vkmoe_string_free(char *text);

/* ---- devices ---------------------------------------------------------------------------------------------------- */

/* All Vulkan devices as a JSON array, best first: for each its index, name, type, driver, memory, limits and the
 * capabilities that vkmoe uses, and "usable" with a reason where it is not. */
VKMOE_API vkmoe_status vkmoe_devices_json(char **text);

/* Opens a device. selector: NULL or "" for the best (discrete before integrated, virtual, CPU), an index of
 * vkmoe_devices_json(), or a part of a device's name. Where it is NULL, the environment variable VKMOE_DEVICE is
 * taken instead. */
VKMOE_API vkmoe_status vkmoe_device_open(const char *selector, vkmoe_device **device);
VKMOE_API void vkmoe_device_close(vkmoe_device *device);

/* The device's name; owned by the device. */
VKMOE_API const char *vkmoe_device_name(const vkmoe_device *device);

/* Measures what the device reaches at best, in about a second, with two kernels that do nothing else (Williams et al.
 * 2009): {"read_bytes_per_second", "flops_per_second"}, a streaming read and float32 fused multiply-adds, each of which
 * counts as two operations. Both are 0 on a device that takes no timestamps. VKMOE_ERROR_INTERNAL when a result is
 * wrong. */
VKMOE_API vkmoe_status vkmoe_device_roofline_json(vkmoe_device *device, char **text);

/* ---- models ----------------------------------------------------------------------------------------------------- */

/* Called while a model loads, with bytes placed so far and in all. A result other than 0 cancels the load. */
typedef int (*vkmoe_progress)(void *user, uint64_t done_bytes, uint64_t total_bytes);

typedef struct vkmoe_load_options {
  size_t size_bytes;
  vkmoe_progress progress; /* may be NULL */
  void *progress_user;
  int reference; /* 1: run on the CPU reference (plain loops, slow) instead of the device; device may be NULL */
  int chat;      /* 1: a model without a chat template is refused, before its weights are read */
} vkmoe_load_options;
VKMOE_API void vkmoe_load_options_init(vkmoe_load_options *options);

/* Loads a model from a GGUF file or a Hugging Face folder (config.json, *.safetensors, tokenizer.json). options may be
 * NULL. The file is mapped while it loads and not needed afterwards (the CPU reference keeps it mapped). Shaders are
 * compiled meanwhile by threads of the device, which may go on when this returns; where one cannot be compiled, the call
 * that needs it fails. */
VKMOE_API vkmoe_status vkmoe_model_load(vkmoe_device *device, const char *path, const vkmoe_load_options *options,
                                        vkmoe_model **model);

/* Loads a GGUF that lies in an open file at offset_bytes, length_bytes long (0: up to the file's end), as Android
 * hands out assets. The descriptor stays the caller's and may be closed after the call. */
VKMOE_API vkmoe_status vkmoe_model_load_fd(vkmoe_device *device, int fd, uint64_t offset_bytes, uint64_t length_bytes,
                                           const vkmoe_load_options *options, vkmoe_model **model);
VKMOE_API void vkmoe_model_close(vkmoe_model *model);

/* Number of ids in the model's output, and the longest context it was made for, in tokens. */
VKMOE_API uint32_t vkmoe_model_vocab_size(const vkmoe_model *model);
VKMOE_API uint32_t vkmoe_model_context_tokens(const vkmoe_model *model);

/* The ids that a decoder's text begins with, of an encoder-decoder model (Switch Transformers, NLLB-MoE): its start token,
 * then the first token that generation_config.json forces, if any. *count is 0 for every other model. Writes at most
 * `capacity` ids and the full number to *count; ids may be NULL when capacity is 0. */
VKMOE_API vkmoe_status vkmoe_model_decoder_prompt(const vkmoe_model *model, int32_t *ids, size_t capacity,
                                                  size_t *count);

/* The families of models that run, as a JSON object: "families", each with the names it has in files ("model_type",
 * "gguf_architecture"), the forms in which tests hold it to logits from outside ("tried_as"), what other engines compute
 * differently ("others_differ") and the released "models" with their parameters and, for each memory, the type with the
 * most bits in which they fit; "memories", with the largest model that fits each; "bits" of a weight by type. */
VKMOE_API vkmoe_status vkmoe_models_json(char **text);

/* What a model is, as a JSON object, from its file alone (no device): architecture, hyper-parameters, tensors by type,
 * total and active parameters, bytes read per decoded token, and the memory that a run with context_tokens (0: the
 * model's own) needs. */
VKMOE_API vkmoe_status vkmoe_inspect_json(const char *path, uint32_t context_tokens, char **text);

typedef struct vkmoe_tune_options {
  size_t size_bytes;
  double seconds;          /* about so long shapes are tried; 60 */
  vkmoe_progress progress; /* thousandths done, and 1000; a result other than 0 cancels. May be NULL */
  void *progress_user;
} vkmoe_tune_options;
VKMOE_API void vkmoe_tune_options_init(vkmoe_tune_options *options);

/* Measures workgroup shapes on this device with the model at path (as vkmoe_model_load takes it), and stores the choice
 * beside the pipeline cache, for this device, driver, version of vkmoe and models of such shapes: their sessions take it
 * from then on. A shape is refused where products of the model's matrices are not within the bound of float32 sums of what
 * the CPU makes of them, or where any logit differs from the built-in shapes' in a bit: results do not change. options may
 * be NULL. *report, if not NULL, becomes a JSON object: device, shapes (what the choice holds for), passes (tokens per
 * second of each kind of pass, built in and tuned), tuning, trials, stored (the file). */
VKMOE_API vkmoe_status vkmoe_tune(vkmoe_device *device, const char *path, const vkmoe_tune_options *options, char **report);

/* ---- making model files --------------------------------------------------------------------------------------- */

typedef struct vkmoe_quantize_options {
  size_t size_bytes;
  const char *type;      /* of matrices without a type of their own, as ggml spells it: "Q4_K". The output matrix (or a
                            tied embedding) gets Q6_K where that is better, and with a K type below Q6_K values and down
                            projections of some layers get the next better type, as in llama.cpp's mixtures */
  const char *experts;   /* exactly this type for the experts' matrices, ... */
  const char *shared;    /* ... for the shared experts', ... */
  const char *attention; /* ... for attention; NULL: as `type` */
  int keep_router;       /* 1: the router's type as in the source; 0: F32. It is never quantized further */
  vkmoe_progress progress; /* values converted so far and in all; a result other than 0 cancels. May be NULL */
  void *progress_user;
} vkmoe_quantize_options;
VKMOE_API void vkmoe_quantize_options_init(vkmoe_quantize_options *options);

/* Writes the model at in_path (GGUF or Hugging Face folder) as one GGUF that vkmoe and llama.cpp read. Vectors stay as
 * they are (F32 from a folder); a row that is no multiple of a type's block gets another type. Memory stays below one
 * tensor and a buffer. out_path appears whole or not at all. *report, if not NULL, becomes a JSON object: source_bytes,
 * written_bytes, notes (tensors that got another type or were left out, and why). */
VKMOE_API vkmoe_status vkmoe_quantize(const char *in_path, const char *out_path, const vkmoe_quantize_options *options,
                                      char **report);

/* ---- text ------------------------------------------------------------------------------------------------------- */

enum {
  VKMOE_TOKENIZE_SPECIAL = 1, /* text that looks like a special token becomes that token */
  VKMOE_TOKENIZE_BOS = 2,     /* put the beginning-of-sequence token first where the model wants one */
  VKMOE_TOKENIZE_EOS = 4      /* put the end-of-sequence token last, as the input of an encoder wants it */
};

/* Ids of exactly these bytes. Writes at most `capacity` ids and the full number to *count; ids may be NULL when
 * capacity is 0. */
VKMOE_API vkmoe_status vkmoe_tokenize(const vkmoe_model *model, const char *text, size_t text_bytes, uint32_t flags,
                                      int32_t *ids, size_t capacity, size_t *count);

/* The bytes of one token (may be a part of a UTF-8 character; empty for control tokens unless special is 1). Writes at
 * most `capacity` bytes, no NUL, and the full number to *count. */
VKMOE_API vkmoe_status vkmoe_token_bytes(const vkmoe_model *model, int32_t id, int special, char *bytes,
                                         size_t capacity, size_t *count);

/* 1 if the model ends its answer with this id. */
VKMOE_API int vkmoe_token_ends(const vkmoe_model *model, int32_t id);

/* A tokenizer alone, without a device or weights: the ids of a file's bytes, for tools. Same rules as
 * vkmoe_tokenize(); *ids is released with vkmoe_ids_free(). */
VKMOE_API vkmoe_status vkmoe_tokenize_with(const char *model_path, const char *text, size_t text_bytes, uint32_t flags,
                                           int32_t **ids, size_t *count);
VKMOE_API void vkmoe_ids_free(int32_t *ids);

/* The bytes of ids from the start of a text, with the same tokenizer; control tokens show where special is 1. *text has
 * *text_bytes bytes and a NUL, and is released with vkmoe_string_free(). */
VKMOE_API vkmoe_status vkmoe_detokenize_with(const char *model_path, const int32_t *ids, size_t count, int special,
                                             char **text, size_t *text_bytes);

typedef struct vkmoe_message {
  const char *role; /* "system", "user", "assistant" */
  const char *content;
  const char *reasoning; /* what an assistant thought before its content; NULL: nothing. Templates decide what they keep */
} vkmoe_message;

/* 1 if the model carries a chat template. */
VKMOE_API int vkmoe_model_has_chat_template(const vkmoe_model *model);

/* The prompt that the model's own template makes of these messages, ready for vkmoe_tokenize() with
 * VKMOE_TOKENIZE_SPECIAL. add_generation_prompt 1: ends where the assistant's answer begins. */
VKMOE_API vkmoe_status vkmoe_chat_format(const vkmoe_model *model, const vkmoe_message *messages, size_t count,
                                         int add_generation_prompt, char **text);

/* ---- sessions --------------------------------------------------------------------------------------------------- */

typedef struct vkmoe_session_options {
  size_t size_bytes;
  uint32_t context_tokens; /* room in the KV cache; 0: the model's own context, at most 4096. More than the model's own
                              works, but models answer badly beyond what they were made for. Where a model's rotary
                              embedding hangs on the context (LongRoPE, dynamic scaling), this room decides, for all
                              tokens: ask for no more than the original context to get what was trained with it */
  uint32_t chunk_tokens;   /* most tokens that one pass over the model takes while feeding; 0: chosen by the library */
  int profile;             /* 1: take a timestamp around every kernel, for vkmoe_session_stats_json() */
  int routing;             /* 1: add up how tokens that are fed are routed, for vkmoe_session_stats_json(); slower, since
                              every layer's routing is read back */
  int exact;               /* 1: everything is float32, and logits of a token are the same bits in any pass. 0: where the
                              device multiplies packed integers or matrices of fp16 faster, passes of many tokens round
                              what they multiply with integer weights to int8, 32 values at a time, or everything to
                              fp16, as llama.cpp does; then logits differ a little between tokens fed together and one
                              by one. And GPUs keep keys and values as fp16: half the memory and bytes of a context */
} vkmoe_session_options;
VKMOE_API void vkmoe_session_options_init(vkmoe_session_options *options);

/* options may be NULL. */
VKMOE_API vkmoe_status vkmoe_session_open(vkmoe_model *model, const vkmoe_session_options *options,
                                          vkmoe_session **session);
VKMOE_API void vkmoe_session_close(vkmoe_session *session);

/* Room of the KV cache, and the number of tokens in it. */
VKMOE_API uint32_t vkmoe_session_capacity_tokens(const vkmoe_session *session);
VKMOE_API uint32_t vkmoe_session_position_tokens(const vkmoe_session *session);

/* Forgets all tokens from position_tokens on (0: all). */
VKMOE_API vkmoe_status vkmoe_session_rewind(vkmoe_session *session, uint32_t position_tokens);

/* Encoder-decoder models only: the encoder reads the whole input, of at most capacity_tokens ids. What is fed, generated,
 * rewound and counted afterwards are the decoder's tokens, which begin with vkmoe_model_decoder_prompt(); those of an
 * earlier input are forgotten. Such models take all tokens of a call in one pass (chunk_tokens is not looked at), because
 * their experts have room for so many tokens of a pass only: as in transformers, logits may differ between tokens fed
 * together and one by one. */
VKMOE_API vkmoe_status vkmoe_session_encode(vkmoe_session *session, const int32_t *ids, size_t count);

/* Appends tokens to the context. Logits of the last of them are kept on the device. */
VKMOE_API vkmoe_status vkmoe_session_feed(vkmoe_session *session, const int32_t *ids, size_t count);

/* As vkmoe_session_feed(), and writes the logits of every one of the tokens: logits is (count, vocab) float32. */
VKMOE_API vkmoe_status vkmoe_session_feed_logits(vkmoe_session *session, const int32_t *ids, size_t count,
                                                 float *logits);

/* The logits of the last token that was fed or generated and evaluated: (vocab) float32. */
VKMOE_API vkmoe_status vkmoe_session_logits(vkmoe_session *session, float *logits);

/* How the next token is chosen, in this order: repetition penalty, top-k, softmax with temperature, min-p, top-p, draw.
 * The same seed gives the same tokens on the same device. */
typedef struct vkmoe_sampling {
  size_t size_bytes;
  float temperature;        /* 0: the most likely token (greedy); the lower id wins a tie */
  uint32_t top_k;           /* keep the k most likely; 0: all */
  float top_p;              /* keep the fewest tokens that together reach this probability; 1: all */
  float min_p;              /* keep tokens at least this fraction as likely as the most likely; 0: all */
  float repetition_penalty; /* divide positive and multiply negative logits of recent tokens by this; 1: off */
  uint32_t repetition_last; /* how many of the latest tokens count as recent; at most 256 */
  uint64_t seed;
} vkmoe_sampling;
VKMOE_API void vkmoe_sampling_init(vkmoe_sampling *sampling); /* greedy, no penalty */

/* Chooses a token from the current logits, on the device. Does not append it: feed it to go on. sampling may be NULL
 * (greedy). */
VKMOE_API vkmoe_status vkmoe_session_sample(vkmoe_session *session, const vkmoe_sampling *sampling, int32_t *id);

/* Called for every generated token. A result other than 0 stops the generation after this token. */
typedef int (*vkmoe_on_token)(void *user, int32_t id);

/* Samples and appends up to max_tokens tokens, several in one submission, until a token ends the answer (it is
 * reported, too), the callback stops it or the context is full. *made, if not NULL, becomes the number of tokens
 * reported. Every reported token is in the context afterwards, except that the last one may still await its
 * evaluation; the next feed or generate does that first. */
VKMOE_API vkmoe_status vkmoe_session_generate(vkmoe_session *session, const vkmoe_sampling *sampling,
                                              uint32_t max_tokens, vkmoe_on_token on_token, void *user,
                                              uint32_t *made);

/* Stops the feed or generate that runs in another thread as soon as the work under way on the device is done; that
 * call returns VKMOE_ERROR_CANCELLED. Called while nothing runs, it stops the next one: a request is never lost. */
VKMOE_API void vkmoe_session_cancel(vkmoe_session *session);

/* Counts since the session was opened, as a JSON object: tokens, submits, dispatches, bytes read back, memory in
 * bytes, what the cache keeps ("kv_cache": "type", "fp16" or "float32", and "bytes"), the workgroup shapes that were
 * chosen ("tuning"), among them what passes of many tokens multiply ("products": "float32", "int8" or "fp16";
 * vkmoe_session_options.exact); with options.profile also by kernel time in nanoseconds, number of dispatches, and what
 * they did at least, counted from their shapes and the rows really routed: bytes read and written, floating-point
 * operations. With options.routing also a list "routing" of the layers with experts, over all tokens fed ("tokens"):
 * "layer"; "load", the share of all kept assignments that each expert got; "importance", the sum of its weights (Shazeer
 * et al. 2017, eq. 6), and "importance_cv2", the squared coefficient of variation of that (eq. 7); "fraction_dropped",
 * assignments that found no room; "load_balance_loss" (Fedus et al. 2022, eq. 4: 1 when balanced); "z_loss" (Zoph et
 * al. 2022, eq. 5); "router_entropy", mean entropy of a token's softmax, and "load_entropy", both in nats. */
VKMOE_API vkmoe_status vkmoe_session_stats_json(vkmoe_session *session, char **text);

#ifdef __cplusplus
}
#endif
#endif
