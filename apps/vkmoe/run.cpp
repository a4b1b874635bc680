// vkmoe run: answers a prompt and streams the text.
#include "answer.h"
#include "commands.h"

namespace {

struct Options : RunOptions {
  std::string prompt, prompt_flag, system;
  std::string source_language, target_language;
  uint32_t max_tokens = 256;
  bool raw = false, stats = false, json = false;
  SamplingOptions sampling;
};

// The one id of a language's token, such as "fra_Latn".
int32_t language_id(const vkmoe_model* model, const std::string& language) {
  const std::vector<int32_t> ids = tokenize(model, language, VKMOE_TOKENIZE_SPECIAL);
  if (ids.size() != 1) throw Failure("\"" + language + "\" is no token of the model: expected a language such as fra_Latn");
  return ids[0];
}

// The input of an encoder-decoder model, which ends with its end token and may begin with its language.
std::vector<int32_t> encoder_ids(const vkmoe_model* model, const Options& options, const std::string& prompt) {
  std::vector<int32_t> ids = tokenize(model, prompt, VKMOE_TOKENIZE_SPECIAL | VKMOE_TOKENIZE_EOS);
  if (!options.source_language.empty()) ids.insert(ids.begin(), language_id(model, options.source_language));
  return ids;
}

void run(const Options& options) {
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
  const bool raw = options.raw || !vkmoe_model_has_chat_template(model);
  if (raw && !options.system.empty()) throw Failure("--system needs a model with a chat template, and no --raw", 2);
  if (!raw) {
    std::vector<vkmoe_message> messages;
    if (!options.system.empty()) messages.push_back({"system", options.system.c_str()});
    messages.push_back({"user", prompt.c_str()});
    prompt = format_chat(model, messages);
  }
  std::vector<int32_t> decoder = decoder_prompt(model);
  if (decoder.empty() && !(options.source_language + options.target_language).empty())
    throw Failure("--source-language and --target-language need an encoder-decoder model", 2);
  if (!options.target_language.empty()) decoder = {decoder[0], language_id(model, options.target_language)};
  const std::vector<int32_t> ids =
      decoder.empty() ? tokenize(model, prompt, VKMOE_TOKENIZE_SPECIAL | (raw ? uint32_t(VKMOE_TOKENIZE_BOS) : 0))
                      : encoder_ids(model, options, prompt);
  if (ids.empty()) throw Failure("the prompt is empty");
  const Session session = open_session(loaded.model.get(), options);
  check_fits(session.get(), ids.size(), "the prompt");

  const vkmoe_sampling sampling = options.sampling.make();
  Answer answer(model, prompt, raw, !options.json);
  answer.decoder_ids = decoder;
  answer.generate(session.get(), sampling, options.max_tokens, ids);
  const double feed_rate = double(ids.size()) / std::max(answer.feed_seconds, 1e-9);
  const double rate = double(answer.ids.size()) / std::max(answer.seconds, 1e-9);
  if (options.json) {
    print_json({{"text", answer.text},
                {"reasoning", answer.reasoning},
                {"ids", answer.ids},
                {"prompt_tokens", ids.size()},
                {"stopped_by", answer.stopped_by},
                {"seed", sampling.seed},
                {"load_seconds", loaded.load_seconds},
                {"prefill_tokens_per_second", feed_rate},
                {"decode_tokens_per_second", rate}});
  } else {
    print("\n");
  }
  if (answer.stopped_by == "context") {
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
  if (answer.stopped_by == "interrupted") throw Interrupted();
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
  options->sampling.add(*app);
  app->add_option("--source-language", options->source_language,
                  "of a translation model: the token of the prompt's language, such as eng_Latn");
  app->add_option("--target-language", options->target_language,
                  "of a translation model: the token of the answer's language, such as fra_Latn");
  app->add_flag("--stats", options->stats, "print tokens per second to standard error");
  app->add_flag("--json", options->json, "print one JSON object at the end instead of streaming text");
  app->callback([options] { run(*options); });
}
