// Lines from a person: with editing and history on a terminal (libedit, where the build found it), plain otherwise.
#pragma once
#include <memory>
#include <string>

class LineReader {
 public:
  LineReader();
  ~LineReader();

  enum class Result { line, end, cleared, interrupted };
  // line: without its newline. cleared, interrupted: Ctrl-C on a terminal, after something was typed and before.
  Result read(const std::string& prompt, std::string& line);
  // Makes a text come back with the up arrow.
  void remember(const std::string& text);
  bool interactive() const { return interactive_; }

 private:
  struct Editor;
  std::unique_ptr<Editor> editor_;
  bool interactive_;
};
