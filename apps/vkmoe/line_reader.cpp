#include "line_reader.h"

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <iostream>

#include "common.h"

#ifdef _WIN32
#include <io.h>
#define isatty _isatty
#else
#include <unistd.h>
#endif

#ifdef VKMOE_LIBEDIT
#include <histedit.h>

#include <cstdlib>
#include <cstring>
#include <cwchar>

namespace {

volatile std::sig_atomic_t was_interrupted = 0;
bool was_typed = false;  // anything, since the line began

// Ctrl-C ends the read that waits; std::signal() would have it go on.
struct InterruptsReads {
  struct sigaction before;
  InterruptsReads() {
    was_interrupted = 0;
    was_typed = false;
    struct sigaction action = {};
    action.sa_handler = [](int) { was_interrupted = 1; };
    sigaction(SIGINT, &action, &before);
  }
  ~InterruptsReads() { sigaction(SIGINT, &before, nullptr); }
};

// One character of standard input, for libedit: 1, or 0 at its end and -1 on Ctrl-C.
int read_char(EditLine*, wchar_t* out) {
  std::mbstate_t state{};
  for (;;) {
    char byte;
    const ssize_t count = was_interrupted ? -1 : ::read(0, &byte, 1);
    if (count < 0 && !was_interrupted && errno == EINTR) continue;
    if (count <= 0) return int(count);
    was_typed = true;
    const size_t used = std::mbrtowc(out, &byte, 1, &state);
    if (used == size_t(-2)) continue;
    if (used != size_t(-1)) return 1;
    state = {};  // no character: left out
  }
}

// Terminals put these around what is pasted, where they are told to: its newlines are then part of the line.
const char paste_begins[] = "\033[200~", paste_reports[] = "\033[?2004h", paste_reports_end[] = "\033[?2004l";

unsigned char insert_paste(EditLine* line, wint_t) {
  const std::wstring end = L"\033[201~";
  std::wstring text;
  wchar_t c;
  for (wchar_t before = 0; !text.ends_with(end) && el_wgetc(line, &c) == 1; before = c) {
    if (c != L'\n' || before != L'\r') text += c == L'\r' ? L'\n' : c;  // CR, LF and CRLF: one newline
  }
  if (text.ends_with(end)) text.resize(text.size() - end.size());
  std::erase_if(text, [](wchar_t c) { return c < 32 && c != L'\n' && c != L'\t'; });
  text.resize(text.find_last_not_of(L'\n') + 1);
  if (!text.empty()) el_winsertstr(line, text.c_str());
  return CC_REFRESH;
}

}  // namespace

struct LineReader::Editor {
  std::string prompt;
  bool reports_pastes;
  EditLine* line;
  History* history = history_init();
  HistEvent event{};

  Editor() {
    std::setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
    line = el_init("vkmoe", stdin, stdout, stderr);
    el_set(line, EL_CLIENTDATA, this);
    el_set(line, EL_PROMPT, +[](EditLine* line) {
      Editor* self = nullptr;
      el_get(line, EL_CLIENTDATA, &self);
      return self->prompt.data();
    });
    ::history(history, &event, H_SETSIZE, 1000);
    el_set(line, EL_EDITOR, "emacs");
    el_set(line, EL_SIGNAL, 0);
    el_set(line, EL_HIST, ::history, history);
    el_set(line, EL_GETCFN, read_char);
    el_wset(line, EL_ADDFN, L"insert-paste", L"Inserts what is pasted", insert_paste);
    el_set(line, EL_SETTY, "-d", "-icrnl", "-inlcr", nullptr);  // a pasted CRLF arrives as it is
    el_set(line, EL_BIND, paste_begins, "insert-paste", nullptr);
    const char* terminal = std::getenv("TERM");
    reports_pastes = isatty(1) && terminal && std::strcmp(terminal, "dumb") != 0;
  }
  ~Editor() {
    el_end(line);
    history_end(history);
  }
};

#else

struct LineReader::Editor {};

#endif

LineReader::LineReader() : interactive_(isatty(0)) {
#ifdef VKMOE_LIBEDIT
  if (interactive_) editor_ = std::make_unique<Editor>();
#endif
}

LineReader::~LineReader() = default;

LineReader::Result LineReader::read(const std::string& prompt, std::string& line) {
#ifdef VKMOE_LIBEDIT
  if (editor_) {
    const InterruptsReads guard;
    editor_->prompt = prompt;
    int count = 0;
    if (editor_->reports_pastes) print(paste_reports);
    const char* text = el_gets(editor_->line, &count);
    if (editor_->reports_pastes) print(paste_reports_end);
    if (was_interrupted) return was_typed ? Result::cleared : Result::interrupted;
    if (!text || count <= 0) return Result::end;
    line.assign(text, size_t(count));
    if (line.ends_with('\n')) line.pop_back();
    return Result::line;
  }
#endif
  if (interactive_) print(prompt);
  if (!std::getline(std::cin, line)) return Result::end;
  if (line.ends_with('\r')) line.pop_back();
  return Result::line;
}

void LineReader::remember(const std::string& text) {
#ifdef VKMOE_LIBEDIT
  if (editor_ && !text.empty()) ::history(editor_->history, &editor_->event, H_ENTER, text.c_str());
#else
  (void)text;
#endif
}
