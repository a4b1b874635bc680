// vkmoe run: answers a prompt and streams the text.
#include <atomic>
#include <csignal>
#include <random>

#include "commands.h"
#include "common.h"
#include "utf8.h"

namespace {

struct Options : RunOptions {
  std::string prompt, prompt_flag, system;
  uint32_t max_tokens = 256;
  bool raw = false, stats = false, json = false;
  CLI::Option *temperature_option, *top_k_option, *top_p_option, *min_p_option, *seed_option;
  float temperature = 0.7f, top_p = 0.95f, min_p = 0, repetition_penalty = 1;
  uint32_t top_k = 40;
  uint64_t seed = 0;
};

std::atomic<vkmoe_session*> running_session{nullptr};
std::atomic<bool> interrupted{false};

void on_interrupt(int) {
  interrupted = true;
  if (vkmoe_session* session = running_session) vkmoe_session_cancel(session);
  std::signal(SIGINT, SIG_DFL);  // a second one ends the program
}

// While it lives, Ctrl-C stops the session's work instead of the program.
struct InterruptGuard {
  explicit InterruptGuard(vkmoe_session* session) {
    running_session = session;
    std::signal(SIGINT, on_interrupt);
  }
  ~InterruptGuard() {
    std::signal(SIGINT, SIG_DFL);
    running_session = nullptr;
  }
};

// Greedy unless an option asks for chance, so that a first answer can be repeated.
vkmoe_sampling make_sampling(Options& options) {
  vkmoe_sampling sampling;
  vkmoe_sampling_init(&sampling);
  sampling.repetition_penalty = options.repetition_penalty;
  bool chance = false;
  for (const CLI::Option* option : {options.temperature_option, options.top_k_option, options.top_p_option,
                                    options.min_p_option, options.seed_option}) {
    chance = chance || option->count() > 0;
  }
  if (!chance) return sampling;
  if (options.seed_option->count() == 0) {
    options.seed = std::random_device()();
  }
  sampling.temperature = options.temperature;
  sampling.top_k = options.top_k;
  sampling.top_p = options.top_p;
  sampling.min_p = options.min_p;
  sampling.seed = options.seed;
  return sampling;
}

std::vector<int32_t> prompt_ids(const vkmoe_model* model, const Options& options, const std::string& prompt) {
  if (options.raw || !vkmoe_model_has_chat_template(model)) {
    if (!options.system.empty()) throw Failure("--system needs a model with a chat template, and no --raw", 2);
    return tokenize(model, prompt, VKMOE_TOKENIZE_SPECIAL | VKMOE_TOKENIZE_BOS);
  }
  std::vector<vkmoe_message> messages;
  if (!options.system.empty()) messages.push_back({"system", options.system.c_str()});
  messages.push_back({"user", prompt.c_str()});
  char* text = nullptr;
  check(vkmoe_chat_format(model, messages.data(), messages.size(), 1, &text));
  const std::unique_ptr<char, void (*)(char*)> owner(text, vkmoe_string_free);
  return tokenize(model, text, VKMOE_TOKENIZE_SPECIAL);
}

// Receives the tokens of the answer.
struct Answer {
  const vkmoe_model* model;
  bool stream;
  std::string text;
  std::vector<int32_t> ids;
  bool ended = false;
  Utf8Joiner joiner;
  std::exception_ptr failure;  // carried round the library, through which no exception may pass

  int take(int32_t id) {
    try {
      ids.push_back(id);
      ended = vkmoe_token_ends(model, id) != 0;
      write(joiner.push(token_bytes(model, id)));
    } catch (...) {
      failure = std::current_exception();
      return 1;
    }
    return interrupted ? 1 : 0;
  }
  void write(const std::string& part) {
    text += part;
    if (stream && !part.empty()) print(part);
  }
};

// Returns why the answer stopped.
const char* generate(vkmoe_session* session, const Options& options, const vkmoe_sampling& sampling,
                     const std::vector<int32_t>& prompt, Answer& answer, double* feed_seconds, double* seconds) {
  InterruptGuard guard(session);
  Stopwatch feed_watch;
  vkmoe_status status = vkmoe_session_feed(session, prompt.data(), prompt.size());
  *feed_seconds = feed_watch.seconds();
  Stopwatch watch;
  if (status == VKMOE_OK) {
    status = vkmoe_session_generate(
        session, &sampling, options.max_tokens,
        [](void* user, int32_t id) { return static_cast<Answer*>(user)->take(id); }, &answer, nullptr);
    *seconds = watch.seconds();
  }
  if (answer.failure) std::rethrow_exception(answer.failure);
  if (status != VKMOE_ERROR_CANCELLED) check(status);
  answer.write(answer.joiner.flush());
  if (interrupted) return "interrupted";
  if (answer.ended) return "end";
  return answer.ids.size() < options.max_tokens ? "context" : "length";
}

void run(Options& options) {
  if (options.prompt.empty() == options.prompt_flag.empty()) {
    throw Failure(options.prompt.empty()
                      ? "no prompt given: vkmoe run \"What is a lighthouse?\" (see vkmoe run --help)"
                      : "a prompt is given twice, by --prompt and alone (see vkmoe run --help)",
                  2);
  }
  std::string prompt = options.prompt + options.prompt_flag;
  if (prompt == "-") {
    prompt = read_input("-");
    if (prompt.ends_with('\n')) prompt.pop_back();  // as a shell's $(...) does; what echo adds is not meant
  }
  if (prompt.find('\0') != std::string::npos) throw Failure("the prompt holds a NUL byte");

  const LoadedModel loaded = load_model(options);
  const vkmoe_model* model = loaded.model.get();
  const std::vector<int32_t> ids = prompt_ids(model, options, prompt);
  if (ids.empty()) throw Failure("the prompt is empty");
  const Session session = open_session(loaded.model.get(), options);
  check_fits(session.get(), ids.size(), "the prompt");

  const vkmoe_sampling sampling = make_sampling(options);
  Answer answer{model, !options.json};
  double feed_seconds = 0, seconds = 0;
  const std::string stop = generate(session.get(), options, sampling, ids, answer, &feed_seconds, &seconds);
  const double feed_rate = double(ids.size()) / std::max(feed_seconds, 1e-9);
  const double rate = double(answer.ids.size()) / std::max(seconds, 1e-9);
  if (options.json) {
    print_json({{"text", answer.text},
                {"ids", answer.ids},
                {"prompt_tokens", ids.size()},
                {"stopped_by", stop},
                {"seed", sampling.seed},
                {"load_seconds", loaded.load_seconds},
                {"prefill_tokens_per_second", feed_rate},
                {"decode_tokens_per_second", rate}});
  } else {
    print("\n");
  }
  if (stop == "context") {
    std::fprintf(stderr, "vkmoe: stopped: the context of %u tokens is full\n",
                 vkmoe_session_capacity_tokens(session.get()));
  }
  if (options.stats) {
    const char* device = loaded.device ? vkmoe_device_name(loaded.device.get()) : "CPU reference";
    std::fprintf(stderr,
                 "%s: load %.2f s; prefill %zu tokens, %.1f tokens/s; decode %zu tokens, %.1f tokens/s; seed %llu\n",
                 device, loaded.load_seconds, ids.size(), feed_rate, answer.ids.size(), rate,
                 static_cast<unsigned long long>(sampling.seed));
  }
  if (stop == "interrupted") throw Interrupted();
}

}  // namespace

void add_run(CLI::App& program) {
  CLI::App* app = program.add_subcommand("run", "Answers a prompt and streams the text");
  auto options = std::make_shared<Options>();
  app->add_option("PROMPT", options->prompt, "the prompt; - reads it from standard input, less a newline at its end");
  app->add_option("-p,--prompt", options->prompt_flag, "the same, as an option");
  add_run_options(*app, *options);
  app->add_option("-n,--tokens", options->max_tokens, "most tokens to answer with")->capture_default_str();
  app->add_option("--system", options->system, "a system message before the prompt");
  app->add_flag("--raw", options->raw, "send the prompt as it is, without the model's chat template");
  options->temperature_option = app->add_option("--temp", options->temperature,
                                                "temperature; 0 is greedy. Without any of --temp, --top-k, --top-p, "
                                                "--min-p, --seed the answer is greedy; with one, the others are")
                                    ->check(CLI::Range(0.0, 100.0))
                                    ->capture_default_str();
  options->top_k_option =
      app->add_option("--top-k", options->top_k, "keep the K most likely tokens; 0 keeps all")->capture_default_str();
  options->top_p_option =
      app->add_option("--top-p", options->top_p, "keep the fewest tokens that reach this probability")
          ->check(CLI::Range(0.0, 1.0))
          ->capture_default_str();
  options->min_p_option =
      app->add_option("--min-p", options->min_p, "keep tokens at least this fraction as likely as the best")
          ->check(CLI::Range(0.0, 1.0))
          ->capture_default_str();
  options->seed_option = app->add_option("--seed", options->seed,
                                         "the same seed gives the same answer (default: another "
                                         "each time)");
  app->add_option("--repetition-penalty", options->repetition_penalty, "makes recent tokens less likely; 1 is off")
      ->check(CLI::Range(0.01, 100.0))
      ->capture_default_str();
  app->add_flag("--stats", options->stats, "print tokens per second to standard error");
  app->add_flag("--json", options->json, "print one JSON object at the end instead of streaming text");
  app->callback([options] { run(*options); });
}
