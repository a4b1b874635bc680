// How a model's answer is made and shown, for run and chat: sampling options, Ctrl-C, reasoning told from the answer.
#pragma once
#include <exception>
#include <string>
#include <vector>

#include "common.h"
#include "utf8.h"

// Options for how tokens are chosen.
class SamplingOptions {
 public:
  void add(CLI::App& app);
  // Greedy unless an option asks for chance, so that a first answer can be repeated. Without --seed another each time.
  vkmoe_sampling make() const;

 private:
  CLI::Option *temperature_option_, *top_k_option_, *top_p_option_, *min_p_option_, *seed_option_;
  float temperature_ = 0.7f, top_p_ = 0.95f, min_p_ = 0, repetition_penalty_ = 1;
  uint32_t top_k_ = 40;
  uint64_t seed_ = 0;
};

// Tells reasoning from the answer in a stream of text: <think>...</think>, [THINK]...[/THINK], and gpt-oss's channels, of
// which "final" is the answer.
class ReasoningSplitter {
 public:
  // prompt: what the answer follows; a template may have opened the reasoning already.
  explicit ReasoningSplitter(const std::string& prompt);

  struct Part {
    std::string text;
    bool reasoning;
  };
  std::vector<Part> push(const std::string& text);
  std::vector<Part> flush();

  // Whether a control token's text is one of the marks, and so has to be pushed, too.
  static bool is_mark(const std::string& text);

 private:
  enum class Mode { answer, reasoning, header };  // header: the name of a channel, up to <|message|>
  void emit(const std::string& text, std::vector<Part>& parts);
  void enter(const std::string& mark);
  std::string pending_, channel_;
  Mode mode_ = Mode::answer;
  bool at_start_ = true;  // white space at the start of a part is no part of it
};

// The answer to one prompt: receives its tokens, shows them as they come.
class Answer {
 public:
  // raw: text as it comes. stream: shown on standard output; reasoning dimmed on a terminal, and on standard error where
  // standard output is none.
  Answer(const vkmoe_model* model, const std::string& prompt, bool raw, bool stream);

  std::string text, reasoning;
  std::vector<int32_t> ids;
  std::string stopped_by;  // "end", "length", "context", "interrupted"
  double feed_seconds = 0, seconds = 0;
  std::vector<int32_t> decoder_ids;  // of an encoder-decoder model: what its text begins with; the prompt is its input

  // Feeds the ids and generates. Ctrl-C stops it; a second one ends the program unless that is to be kept.
  void generate(vkmoe_session* session, const vkmoe_sampling& sampling, uint32_t max_tokens,
                const std::vector<int32_t>& prompt_ids, bool keep_program = false);

 private:
  int take(int32_t id);
  void write(const std::vector<ReasoningSplitter::Part>& parts);
  void show(const std::string& part, bool is_reasoning);

  const vkmoe_model* model_;
  bool raw_, stream_, ended_ = false, shown_reasoning_ = false;
  Utf8Joiner joiner_;
  ReasoningSplitter splitter_;
  std::exception_ptr failure_;  // carried round the library, through which no exception may pass
};

// The prompt that the model's template makes of the messages; what the answer follows.
std::string format_chat(const vkmoe_model* model, const std::vector<vkmoe_message>& messages);
