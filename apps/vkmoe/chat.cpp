// vkmoe chat: a conversation. The KV cache is kept from turn to turn: only tokens that differ are fed.
#include <algorithm>
#include <cstdio>

#include "answer.h"
#include "commands.h"
#include "line_reader.h"

namespace {

struct Options : RunOptions {
  std::string system;
  uint32_t max_tokens = 0;
  SamplingOptions sampling;
};

const char help_text[] =
    "/help          this list\n"
    "/reset         forget the conversation, but not the system message\n"
    "/system TEXT   set the system message from here on; without a text, show it; - leaves it out\n"
    "/save FILE     write the conversation as JSON\n"
    "/stats         tokens and speed\n"
    "/quit          leave, as Ctrl-D does\n"
    "A line that ends with \\ goes on in the next one; lines between two lines of \"\"\" are one message. What is pasted\n"
    "is one message, too. One that begins with a slash needs a space before it.\n"
    "Ctrl-C stops an answer, then clears the line; twice with nothing typed, it leaves.\n";

struct Message {
  std::string role, content, reasoning;
};

class Conversation {
 public:
  Conversation(const Options& options, LoadedModel& loaded)
      : options_(options),
        model_(loaded.model.get()),
        session_(open_session(loaded.model.get(), options)),
        sampling_(options.sampling.make()) {
    set_system(options.system);
  }

  // Answers a message on standard output. Throws Failure, and forgets the message, where that cannot be.
  void answer(const std::string& text) {
    messages_.push_back({"user", text, ""});
    std::string prompt;
    std::vector<int32_t> ids;
    try {
      ids = fitting_ids(prompt);
    } catch (...) {
      messages_.pop_back();
      throw;
    }
    // What the cache has already; at least one token is fed, whose logits begin the answer.
    const size_t known = std::min({cached_.size(), ids.size() - 1, size_t(vkmoe_session_position_tokens(session_.get()))});
    const size_t same = size_t(std::mismatch(ids.begin(), ids.begin() + ptrdiff_t(known), cached_.begin()).first - ids.begin());
    cached_.resize(same);
    check(vkmoe_session_rewind(session_.get(), uint32_t(same)));
    const uint32_t room = uint32_t(capacity() - ids.size());
    const uint32_t most = options_.max_tokens ? options_.max_tokens : room + 1;
    Answer answer(model_, prompt, false, true);
    answer.generate(session_.get(), sampling_, most, {ids.begin() + ptrdiff_t(same), ids.end()}, true);
    print("\n");
    cached_ = std::move(ids);
    cached_.insert(cached_.end(), answer.ids.begin(), answer.ids.end());
    messages_.push_back({"assistant", answer.text, answer.reasoning});
    if (sampling_.seed) ++sampling_.seed;  // another draw in each turn
    fed_ = cached_.size() - answer.ids.size() - same;
    fed_seconds_ = answer.feed_seconds;
    made_ = answer.ids.size();
    made_seconds_ = answer.seconds;
    if (answer.stopped_by == "context") note("stopped: the context of " + std::to_string(capacity()) + " tokens is full");
    if (answer.stopped_by == "length") note("stopped after " + std::to_string(most) + " tokens (--tokens)");
    if (answer.stopped_by == "interrupted") note("stopped");
  }

  void reset() { messages_.resize(has_system() ? 1 : 0); }

  // Throws Failure, and changes nothing, where the model's template refuses it: better now than with the next message.
  void set_system(const std::string& text) {
    const std::vector<Message> before = messages_;
    if (has_system()) messages_.erase(messages_.begin());
    if (text.empty()) return;
    messages_.insert(messages_.begin(), {"system", text, ""});
    messages_.push_back({"user", "?", ""});
    try {
      std::string prompt;
      prompt_ids(prompt);
    } catch (...) {
      messages_ = before;
      throw;
    }
    messages_.pop_back();
  }

  std::string system() const { return has_system() ? messages_[0].content : ""; }

  void save(const std::string& path) const {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Message& message : messages_) {
      list.push_back({{"role", message.role}, {"content", message.content}});
      if (!message.reasoning.empty()) list.back()["reasoning_content"] = message.reasoning;
    }
    const nlohmann::ordered_json whole = {{"messages", list}};
    const std::string text = whole.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    write_file(path, {text});
  }

  std::string stats() const {
    const auto speed = [](size_t count, double seconds) {
      return std::to_string(count) + " tokens, " + fixed(double(count) / std::max(seconds, 1e-9), 1) + " tokens/s";
    };
    return "context: " + std::to_string(cached_.size()) + " of " + std::to_string(capacity()) +
           " tokens; last turn: fed " + speed(fed_, fed_seconds_) + "; answered " + speed(made_, made_seconds_);
  }

  static void note(const std::string& text) { std::fprintf(stderr, "vkmoe: %s\n", text.c_str()); }

 private:
  bool has_system() const { return !messages_.empty() && messages_[0].role == "system"; }
  size_t capacity() const { return vkmoe_session_capacity_tokens(session_.get()); }

  std::vector<int32_t> prompt_ids(std::string& prompt) const {
    std::vector<vkmoe_message> messages;
    for (const Message& message : messages_)
      messages.push_back({message.role.c_str(), message.content.c_str(),
                          message.reasoning.empty() ? nullptr : message.reasoning.c_str()});
    prompt = format_chat(model_, messages);
    std::vector<int32_t> ids = tokenize(model_, prompt, VKMOE_TOKENIZE_SPECIAL);
    if (ids.empty()) throw Failure("the prompt is empty");
    return ids;
  }

  // The ids of the prompt; the oldest turns are forgotten where it would leave an answer too little room.
  std::vector<int32_t> fitting_ids(std::string& prompt) {
    std::vector<Message> before = messages_;
    std::vector<int32_t> ids = prompt_ids(prompt);
    const size_t room = std::min<size_t>(options_.max_tokens ? options_.max_tokens : 256, capacity() / 4);
    const size_t first = has_system() ? 1 : 0;
    size_t forgotten = 0;
    while (ids.size() + room > capacity() && messages_.size() > first + 1) {
      const size_t turn = std::min<size_t>(2, messages_.size() - first - 1);  // a question and its answer
      messages_.erase(messages_.begin() + ptrdiff_t(first), messages_.begin() + ptrdiff_t(first + turn));
      forgotten += turn;
      ids = prompt_ids(prompt);
    }
    if (ids.size() >= capacity()) {
      messages_ = std::move(before);
      check_fits(session_.get(), ids.size() + 1, "the message, with the system message and a token to answer,");
    }
    if (forgotten)
      note("the context of " + std::to_string(capacity()) + " tokens is full: the oldest " +
           std::to_string(forgotten) + " messages are forgotten");
    return ids;
  }

  const Options& options_;
  const vkmoe_model* model_;
  Session session_;
  vkmoe_sampling sampling_;
  std::vector<Message> messages_;
  std::vector<int32_t> cached_;  // tokens in the session
  size_t fed_ = 0, made_ = 0;
  double fed_seconds_ = 0, made_seconds_ = 0;
};

// A message of one or several lines. false: the person leaves.
bool read_message(LineReader& reader, std::string& message) {
  bool block = false, more = false, interrupted = false;
  message.clear();
  for (;;) {
    std::string line;
    const LineReader::Result result = reader.read(block || more ? ". " : "> ", line);
    if (result == LineReader::Result::interrupted || result == LineReader::Result::cleared) {
      print("\n");
      if (interrupted && result == LineReader::Result::interrupted) return false;
      interrupted = true;
      Conversation::note("Ctrl-C again leaves");
      block = more = false;
      message.clear();
      continue;
    }
    if (result == LineReader::Result::end) return block || more;
    interrupted = false;
    reader.remember(line);
    if (line == "\"\"\"") {
      if (block) return true;
      if (!more) {
        block = true;
        continue;
      }
    }
    more = !block && line.ends_with('\\');
    if (more) line.pop_back();
    message += line;
    if (!block && !more) return true;
    message += '\n';
  }
}

// A line that starts with a slash. false: the person leaves.
bool run_command(Conversation& conversation, const std::string& line) {
  const size_t space = std::min(line.find(' '), line.size());
  const std::string name = line.substr(0, space);
  const size_t begin = line.find_first_not_of(' ', space);
  const std::string argument = begin == std::string::npos ? "" : line.substr(begin);
  if (name == "/quit" || name == "/exit") return false;
  if (name == "/help") {
    print(help_text);
  } else if (name == "/reset") {
    conversation.reset();
  } else if (name == "/system" && argument.empty()) {
    print((conversation.system().empty() ? "no system message" : conversation.system()) + "\n");
  } else if (name == "/system") {
    conversation.set_system(argument == "-" ? "" : argument);
  } else if (name == "/save") {
    if (argument.empty()) throw Failure("/save needs the name of a file");
    conversation.save(argument);
  } else if (name == "/stats") {
    print(conversation.stats() + "\n");
  } else {
    throw Failure("unknown command " + name + " (/help lists them)");
  }
  return true;
}

void chat(Options& options) {
  options.chat = true;
  LoadedModel loaded = load_model(options);
  Conversation conversation(options, loaded);
  LineReader reader;
  if (reader.interactive()) print("Type a message, or /help.\n");
  std::string message;
  for (bool goes_on = true; goes_on;) {
    if (!read_message(reader, message)) {
      if (reader.interactive()) print("\n");
      return;
    }
    if (message.find_first_not_of(" \t\n") == std::string::npos) continue;
    try {
      if (message.find('\0') != std::string::npos) throw Failure("the message holds a NUL byte");
      if (message[0] == '/') {
        goes_on = run_command(conversation, message);
      } else {
        conversation.answer(message);
      }
    } catch (const Failure& failure) {
      if (!reader.interactive()) throw;  // a script wants to know
      Conversation::note(failure.what());
    }
  }
}

}  // namespace

void add_chat(CLI::App& program) {
  CLI::App* app = program.add_subcommand("chat", "Holds a conversation; /help inside lists its commands");
  auto options = std::make_shared<Options>();
  add_run_options(*app, *options);
  app->add_option("-n,--tokens", options->max_tokens, "most tokens to answer with (default: what the context has room for)")
      ->check(CLI::PositiveNumber);
  app->add_option("--system", options->system, "a system message before the conversation");
  options->sampling.add(*app);
  app->callback([options] { chat(*options); });
}
