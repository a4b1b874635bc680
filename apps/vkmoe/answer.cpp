#include "answer.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <random>

#ifdef _WIN32
#include <io.h>
#define isatty _isatty
#else
#include <unistd.h>
#endif

void SamplingOptions::add(CLI::App& app) {
  temperature_option_ = app.add_option("--temp", temperature_,
                                       "temperature; 0 is greedy. Without any of --temp, --top-k, --top-p, --min-p, "
                                       "--seed the answer is greedy; with one, the others are")
                            ->check(CLI::Range(0.0, 100.0))
                            ->capture_default_str();
  top_k_option_ = app.add_option("--top-k", top_k_, "keep the K most likely tokens; 0 keeps all")->capture_default_str();
  top_p_option_ = app.add_option("--top-p", top_p_, "keep the fewest tokens that reach this probability")
                      ->check(CLI::Range(0.0, 1.0))
                      ->capture_default_str();
  min_p_option_ = app.add_option("--min-p", min_p_, "keep tokens at least this fraction as likely as the best")
                      ->check(CLI::Range(0.0, 1.0))
                      ->capture_default_str();
  seed_option_ =
      app.add_option("--seed", seed_, "the same seed gives the same answer (default: another each time)");
  app.add_option("--repetition-penalty", repetition_penalty_, "makes recent tokens less likely; 1 is off")
      ->check(CLI::Range(0.01, 100.0))
      ->capture_default_str();
}

vkmoe_sampling SamplingOptions::make() const {
  vkmoe_sampling sampling;
  vkmoe_sampling_init(&sampling);
  sampling.repetition_penalty = repetition_penalty_;
  bool chance = false;
  for (const CLI::Option* option :
       {temperature_option_, top_k_option_, top_p_option_, min_p_option_, seed_option_}) {
    chance = chance || option->count() > 0;
  }
  if (!chance) return sampling;
  sampling.seed = seed_option_->count() ? seed_ : std::random_device()();
  sampling.temperature = temperature_;
  sampling.top_k = top_k_;
  sampling.top_p = top_p_;
  sampling.min_p = min_p_;
  return sampling;
}

// ---- reasoning -------------------------------------------------------------------------------------------------

namespace {

const std::string marks[] = {"<think>",   "</think>", "<seed:think>", "</seed:think>", "[THINK]",
                             "[/THINK]",  "<|channel|>", "<|message|>", "<|start|>",     "<|end|>"};

bool opens(const std::string& mark) { return mark == "<think>" || mark == "<seed:think>" || mark == "[THINK]"; }

}  // namespace

ReasoningSplitter::ReasoningSplitter(const std::string& prompt) {
  const size_t end = prompt.find_last_not_of(" \n") + 1;
  for (const std::string& mark : marks)
    if (opens(mark) && std::string_view(prompt).substr(0, end).ends_with(mark)) mode_ = Mode::reasoning;
}

bool ReasoningSplitter::is_mark(const std::string& text) {
  return std::find(std::begin(marks), std::end(marks), text) != std::end(marks);
}

void ReasoningSplitter::emit(const std::string& text, std::vector<Part>& parts) {
  if (mode_ == Mode::header) {
    channel_ += text;
    return;
  }
  size_t begin = 0;
  if (at_start_) begin = std::min(text.find_first_not_of(" \n"), text.size());
  if (begin == text.size()) return;
  at_start_ = false;
  parts.push_back({text.substr(begin), mode_ == Mode::reasoning});
}

void ReasoningSplitter::enter(const std::string& mark) {
  if (opens(mark)) {
    mode_ = Mode::reasoning;
  } else if (mark == "<|channel|>" || mark == "<|start|>") {
    mode_ = Mode::header;
    channel_.clear();
  } else if (mark == "<|message|>") {
    const bool thinks = channel_.starts_with("analysis") || channel_.starts_with("commentary");
    mode_ = thinks ? Mode::reasoning : Mode::answer;
  } else {
    mode_ = Mode::answer;
  }
  at_start_ = true;
}

std::vector<ReasoningSplitter::Part> ReasoningSplitter::push(const std::string& text) {
  std::vector<Part> parts;
  pending_ += text;
  for (;;) {
    size_t first = std::string::npos;
    const std::string* found = nullptr;
    for (const std::string& mark : marks) {
      const size_t at = pending_.find(mark);
      if (at < first) first = at, found = &mark;
    }
    if (!found) break;
    emit(pending_.substr(0, first), parts);
    pending_.erase(0, first + found->size());
    enter(*found);
  }
  size_t keep = 0;  // of what may become a mark
  for (const std::string& mark : marks)
    for (size_t n = std::min(mark.size() - 1, pending_.size()); n > keep; --n)
      if (pending_.compare(pending_.size() - n, n, mark, 0, n) == 0) keep = n;
  emit(pending_.substr(0, pending_.size() - keep), parts);
  pending_.erase(0, pending_.size() - keep);
  return parts;
}

std::vector<ReasoningSplitter::Part> ReasoningSplitter::flush() {
  std::vector<Part> parts;
  emit(pending_, parts);
  pending_.clear();
  return parts;
}

// ---- the answer ------------------------------------------------------------------------------------------------

namespace {

std::atomic<vkmoe_session*> running_session{nullptr};
std::atomic<bool> interrupted{false}, second_ends{true};

void on_interrupt(int) {
  interrupted = true;
  if (vkmoe_session* session = running_session) vkmoe_session_cancel(session);
  if (second_ends) std::signal(SIGINT, SIG_DFL);
}

// While it lives, Ctrl-C stops the session's work instead of the program.
struct InterruptGuard {
  InterruptGuard(vkmoe_session* session, bool keep_program) {
    interrupted = false;
    second_ends = !keep_program;
    running_session = session;
    std::signal(SIGINT, on_interrupt);
  }
  ~InterruptGuard() {
    std::signal(SIGINT, SIG_DFL);
    running_session = nullptr;
  }
};

}  // namespace

Answer::Answer(const vkmoe_model* model, const std::string& prompt, bool raw, bool stream)
    : model_(model), raw_(raw), stream_(stream), splitter_(prompt) {}

int Answer::take(int32_t id) {
  try {
    ids.push_back(id);
    ended_ = vkmoe_token_ends(model_, id) != 0;
    std::string bytes = token_bytes(model_, id);
    if (!raw_ && bytes.empty() && !ended_) {
      const std::string special = token_bytes(model_, id, true);
      if (ReasoningSplitter::is_mark(special)) bytes = special;
    }
    const std::string whole = joiner_.push(bytes);
    write(raw_ ? std::vector<ReasoningSplitter::Part>{{whole, false}} : splitter_.push(whole));
  } catch (...) {
    failure_ = std::current_exception();
    return 1;
  }
  return interrupted ? 1 : 0;
}

void Answer::write(const std::vector<ReasoningSplitter::Part>& parts) {
  for (const auto& part : parts) {
    (part.reasoning ? reasoning : text) += part.text;
    if (stream_ && !part.text.empty()) show(part.text, part.reasoning);
  }
}

void Answer::show(const std::string& part, bool is_reasoning) {
  const bool apart = shown_reasoning_ && !is_reasoning && text.size() == part.size();  // the answer begins
  shown_reasoning_ = shown_reasoning_ || is_reasoning;
  if (isatty(1)) {
    print((apart ? "\n\n" : "") + (is_reasoning ? "\033[2m" + part + "\033[0m" : part));
  } else if (is_reasoning) {
    std::fputs(part.c_str(), stderr);
  } else {
    if (apart) std::fputs("\n", stderr);
    print(part);
  }
}

void Answer::generate(vkmoe_session* session, const vkmoe_sampling& sampling, uint32_t max_tokens,
                      const std::vector<int32_t>& prompt_ids, bool keep_program) {
  InterruptGuard guard(session, keep_program);
  Stopwatch feed_watch;
  vkmoe_status status = decoder_ids.empty() ? vkmoe_session_feed(session, prompt_ids.data(), prompt_ids.size())
                                            : vkmoe_session_encode(session, prompt_ids.data(), prompt_ids.size());
  for (size_t i = 0; i < decoder_ids.size() && status == VKMOE_OK; ++i)  // one by one, as transformers' generate() does
    status = vkmoe_session_feed(session, &decoder_ids[i], 1);
  feed_seconds = feed_watch.seconds();
  Stopwatch watch;
  if (status == VKMOE_OK) {
    status = vkmoe_session_generate(
        session, &sampling, max_tokens, [](void* user, int32_t id) { return static_cast<Answer*>(user)->take(id); },
        this, nullptr);
    seconds = watch.seconds();
  }
  if (failure_) std::rethrow_exception(failure_);
  if (status != VKMOE_ERROR_CANCELLED) check(status);
  const std::string rest = joiner_.flush();
  write(raw_ ? std::vector<ReasoningSplitter::Part>{{rest, false}} : splitter_.push(rest));
  if (!raw_) write(splitter_.flush());
  stopped_by = interrupted ? "interrupted" : ended_ ? "end" : ids.size() < max_tokens ? "context" : "length";
}

std::string format_chat(const vkmoe_model* model, const std::vector<vkmoe_message>& messages) {
  char* text = nullptr;
  check(vkmoe_chat_format(model, messages.data(), messages.size(), 1, &text));
  const std::unique_ptr<char, void (*)(char*)> owner(text, vkmoe_string_free);
  return text;
}
