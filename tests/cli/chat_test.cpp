// vkmoe chat on a pseudo-terminal, as a person uses it, and with plain input.
#include <nlohmann/json.hpp>
#include <poll.h>
#include <pty.h>
#include <termios.h>

#include <chrono>
#include <csignal>

#include "process.h"

using nlohmann::json;

namespace {

const std::string default_gguf = source_dir + "/models/vkmoe-default.gguf";
const std::string lighthouse = "a lighthouse that is used to make lighter.";

class Terminal {
 public:
  explicit Terminal(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), program_path);
    struct winsize size = {40, 200, 0, 0};
    child_ = forkpty(&master_, nullptr, nullptr, &size);
    REQUIRE(child_ >= 0);
    if (child_ == 0) {
      setenv("TERM", "xterm", 1);
      setenv("LC_ALL", "C.UTF-8", 1);
      std::vector<char*> words;
      for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
      words.push_back(nullptr);
      execv(words[0], words.data());
      _exit(127);
    }
  }
  ~Terminal() {
    if (child_ > 0) kill(child_, SIGKILL), waitpid(child_, nullptr, 0);
    close(master_);
  }

  void send(const std::string& text) { REQUIRE(write(master_, text.data(), text.size()) == ssize_t(text.size())); }

  // What was shown up to and with `text` since the last call.
  std::string expect(const std::string& text) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(120);
    for (;;) {
      if (const size_t at = shown_.find(text); at != std::string::npos) {
        std::string part = shown_.substr(0, at + text.size());
        shown_.erase(0, part.size());
        before_ += part;
        if (text == "> ") wait_for_editor();
        return part;
      }
      if (!read_more() || std::chrono::steady_clock::now() > end) break;
    }
    FAIL("expected '" << text << "', found '" << shown_ << "' after '" << before_ << "'");
    return "";
  }

  int exit_code() {
    while (read_more()) {
    }
    int status = 0;
    waitpid(child_, &status, 0);
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  // What is typed before the line editor has taken the terminal over would be echoed twice.
  void wait_for_editor() {
    struct termios modes = {};
    for (int i = 0; i < 1200; ++i) {
      REQUIRE(tcgetattr(master_, &modes) == 0);
      if (!(modes.c_lflag & ICANON)) return;
      usleep(100'000);
    }
    FAIL("no line editor after '" << before_ << "'");
  }
  bool read_more() {
    struct pollfd wait = {master_, POLLIN, 0};
    if (poll(&wait, 1, 120'000) <= 0) return false;
    char bytes[4096];
    const ssize_t count = read(master_, bytes, sizeof bytes);
    if (count > 0) shown_.append(bytes, size_t(count));
    return count > 0;
  }
  int master_ = -1;
  pid_t child_ = -1;
  std::string before_, shown_;
};

}  // namespace

TEST_CASE("chat on a terminal") {
  Scratch scratch;
  Terminal terminal({"chat", "-m", default_gguf});
  auto saved_talk = [&] {
    terminal.send("/save " + (scratch / "talk.json") + "\n");
    terminal.expect("> ");
    return json::parse(read_file(scratch / "talk.json"));
  };
  terminal.expect("> ");
  terminal.send("/help\n");
  terminal.expect("/reset");
  terminal.expect("> ");
  terminal.send("What is a lightX\x7fhouse?\n");  // backspace
  terminal.expect(lighthouse);
  terminal.expect("> ");
  terminal.send("/stats\n");
  const std::string first = terminal.expect("> ");
  CHECK(first.find("context: ") != std::string::npos);

  // The second turn feeds what the first has not: not the whole conversation.
  terminal.send("Define the noun \\\n");
  terminal.expect(". ");
  terminal.send("piano.\n");
  terminal.expect("> ");
  terminal.send("/stats\n");
  const std::string second = terminal.expect("> ");
  const size_t fed = second.find("fed "), context = second.find("context: ");
  REQUIRE(fed != std::string::npos);
  CHECK(std::stoi(second.substr(fed + 4)) < std::stoi(second.substr(context + 9)) / 2);

  json talk = saved_talk();
  REQUIRE(talk["messages"].size() == 4);
  CHECK(talk["messages"][1]["content"].get<std::string>().find(lighthouse) != std::string::npos);
  CHECK(talk["messages"][2]["content"] == "Define the noun \npiano.");

  terminal.send("/reset\n");
  terminal.expect("> ");
  terminal.send("/system Be brief.\n");
  terminal.expect("> ");
  terminal.send("\"\"\"\n");
  terminal.expect(". ");
  terminal.send("What is\n");
  terminal.expect(". ");
  terminal.send("gold?\n");
  terminal.expect(". ");
  terminal.send("\"\"\"\n");
  terminal.expect("> ");
  talk = saved_talk();
  REQUIRE(talk["messages"].size() == 3);
  CHECK(talk["messages"][0] == json{{"role", "system"}, {"content", "Be brief."}});
  CHECK(talk["messages"][1]["content"] == "What is\ngold?\n");

  // What is pasted is one message; /system - leaves the system message out.
  terminal.send("/system -\n");
  terminal.expect("> ");
  terminal.send("\033[200~Define\rthe noun\033\tpiano.\r\033[201~");
  terminal.expect("piano.");
  terminal.send("\n");
  terminal.expect("> ");
  talk = saved_talk();
  REQUIRE(talk["messages"].size() == 4);
  CHECK(talk["messages"][2] == json{{"role", "user"}, {"content", "Define\nthe noun\tpiano."}});

  terminal.send("/reset\n");
  terminal.expect("> ");
  terminal.send("\033[200~a\r\nb\r\n\r\nc\nd\rend.\r\n\033[201~");
  terminal.expect("end.");
  terminal.send("\r");
  terminal.expect("> ");
  talk = saved_talk();
  REQUIRE(talk["messages"].size() == 2);
  CHECK(talk["messages"][0]["content"] == "a\nb\n\nc\nd\nend.");

  terminal.send("/nonsense\n");
  terminal.expect("unknown command /nonsense");
  terminal.expect("> ");
  terminal.send("\x10\n");  // the line before comes back
  terminal.expect("unknown command /nonsense");
  terminal.expect("> ");
  terminal.send("/quit\n");
  CHECK(terminal.exit_code() == 0);
}

TEST_CASE("Ctrl-C stops the answer, then the line, then the program") {
  Terminal terminal({"chat", "-m", default_gguf, "--temp", "2", "--seed", "3"});
  terminal.expect("> ");
  terminal.send("And it came to pass\r");
  terminal.expect("pass\r\n");
  terminal.expect(" ");  // the answer has begun
  terminal.send("\x03");
  terminal.expect("stopped");
  terminal.expect("> ");
  for (const char* typed : {"half a line", "another"}) {
    terminal.send(typed);
    terminal.expect(typed);
    terminal.send("\x03");
    terminal.expect("Ctrl-C again leaves");
    terminal.expect("> ");
  }
  terminal.send("/stats\n");
  terminal.expect("context: ");
  terminal.expect("> ");
  terminal.send("\x03");
  terminal.expect("Ctrl-C again leaves");
  terminal.expect("> ");
  terminal.send("\x03");
  CHECK(terminal.exit_code() == 0);

  Terminal other({"chat", "-m", default_gguf});
  other.expect("> ");
  other.send("\x04");  // Ctrl-D
  CHECK(other.exit_code() == 0);
}

TEST_CASE("chat without a terminal") {
  Scratch scratch;
  const Result result = vkmoe({"chat", "-m", default_gguf}, {}, "What is a lighthouse?\n\nDefine the noun piano.\n");
  check_success(result);
  CHECK(result.out.find(lighthouse + "\n") != std::string::npos);
  CHECK(std::count(result.out.begin(), result.out.end(), '\n') == 2);
  check_success(vkmoe({"chat", "-m", default_gguf}, {}, ""));
  check_failure(vkmoe({"chat", "-m", default_gguf}, {}, "/nonsense\n"), {"unknown command"});
  check_failure(vkmoe({"chat", "-m", source_dir + "/tests/data/goldens/dots1"}, {}, "Hi\n"), {"chat template"});
  std::string long_message;
  for (int i = 0; i < 60; i++) long_message += " word";
  check_failure(vkmoe({"chat", "-m", default_gguf, "-c", "48"}, {}, long_message + "\n"), {"context", "48"});

  // The oldest turns make room, and it says so.
  const std::string question = "What is a lighthouse?\n";
  const Result full =
      vkmoe({"chat", "-m", default_gguf, "-c", "100"}, {}, question + question + question + question + "/save " + (scratch / "t") + "\n");
  CHECK(full.exit_code == 0);
  CHECK(full.err.find("forgotten") != std::string::npos);
  CHECK(json::parse(read_file(scratch / "t"))["messages"].size() < 8);
}

TEST_CASE("a template that takes no system message says so at once, and the talk goes on") {
  Scratch scratch;
  const std::string folder = scratch / "model";
  fs::create_directory(folder);
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"})
    fs::copy(source_dir + "/tests/data/goldens/qwen3_moe/" + name, folder + "/" + name);
  write_file(folder + "/chat_template.jinja",
             "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
             "{{ m.content }}{% endfor %}");
  check_failure(vkmoe({"chat", "-m", folder, "--system", "x"}, {}, ""), {"no system here"});
  check_failure(vkmoe({"run", "-m", folder, "--system", "x", "Hi"}), {"no system here"});
  Terminal terminal({"chat", "-m", folder, "-n", "2"});
  terminal.expect("> ");
  terminal.send("/system x\n");
  terminal.expect("no system here");
  terminal.expect("> ");
  terminal.send("In the\n");
  terminal.expect("stopped after 2 tokens");
  terminal.expect("> ");
  terminal.send("/system\n");
  terminal.expect("no system message");
  terminal.expect("> ");
  terminal.send("\x04");
  CHECK(terminal.exit_code() == 0);
}

TEST_CASE("reasoning is shown apart and left out of what follows") {
  Scratch scratch;
  // A template that opens the block itself: all up to </think> is reasoning.
  const std::string folder = scratch / "model";
  fs::create_directory(folder);
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json"})
    fs::copy(source_dir + "/tests/data/goldens/qwen3_moe/" + name, folder + "/" + name);
  write_file(folder + "/chat_template.jinja",
             "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}<think>\n{% endif %}");
  const json result = json::parse(vkmoe({"run", "-m", folder, "-n", "6", "--json", "In the beginning"}).out);
  CHECK(result["text"] == "");
  CHECK(result["reasoning"].get<std::string>().size() > 3);
  const Result apart = vkmoe({"run", "-m", folder, "-n", "6", "In the beginning"});
  CHECK(apart.out == "\n");
  CHECK(apart.err.size() > 3);
  const Result raw = vkmoe({"run", "-m", folder, "--raw", "-n", "6", "In the beginning"});
  check_success(raw);
  CHECK(raw.out.size() > 3);
}
