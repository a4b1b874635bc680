// The program vkmoe: reads the command line and runs one command. Built on include/vkmoe/vkmoe.h alone.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <sstream>

#include "commands.h"
#include "common.h"

#ifndef _WIN32
#include <fcntl.h>
#include <unistd.h>
#endif

namespace {

// A file that is opened later must not become standard output or error by chance.
void ensure_standard_streams() {
#ifndef _WIN32
  for (int fd = 0; fd < 3; ++fd) {
    if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", O_RDWR) == -1) std::exit(1);
  }
  std::signal(SIGPIPE, SIG_IGN);
#endif
}

int report(std::string message, int exit_code) {
  for (char& c : message) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  std::fprintf(stderr, "vkmoe: %s\n", message.c_str());
  return exit_code;
}

int parse(CLI::App& program, int argc, char** argv) {
  const auto named = [&](CLI::App* command) { return argc > 1 && command->get_name() == argv[1]; };
  if (argc > 1 && argv[1][0] != '-' && program.get_subcommands(named).empty()) {
    return report(std::string("unknown command \"") + argv[1] + "\" (see vkmoe --help)", 2);
  }
  try {
    program.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      std::ostringstream text;
      program.exit(error, text, text);
      print(text.str());
      return 0;
    }
    const auto commands = program.get_subcommands();
    const std::string command = commands.empty() ? "" : commands[0]->get_name() + " ";
    return report(std::string(error.what()) + " (see vkmoe " + command + "--help)", 2);
  }
}

}  // namespace

int main(int argc, char** argv) {
  ensure_standard_streams();
  CLI::App program("vkmoe runs mixture-of-experts language models on any Vulkan GPU.", "vkmoe");
  program.set_version_flag("--version", vkmoe_version());
  program.require_subcommand(1);
  program.footer(
      "Environment: VKMOE_MODEL (the default model), VKMOE_DEVICE (the default device), VKMOE_CACHE_DIR (where "
      "compiled pipelines and what vkmoe tune chose are kept).");
  add_run(program);
  add_chat(program);
  add_logits(program);
  add_perplexity(program);
  add_tokenize(program);
  add_inspect(program);
  add_models(program);
  add_quantize(program);
  add_devices(program);
  add_bench(program);
  add_tune(program);
  try {
    return parse(program, argc, argv);
  } catch (const Failure& failure) {
    return report(failure.what(), failure.exit_code);
  } catch (const OutputClosed&) {
    return 0;
  } catch (const Interrupted&) {
    return 130;
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
}
