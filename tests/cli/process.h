// Runs the built program as a user would, and a scratch folder for its files.
#pragma once
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

namespace fs = std::filesystem;

inline const std::string source_dir = VKMOE_SOURCE_DIR;
inline const std::string program_path = std::string(VKMOE_BINARY_DIR) + "/vkmoe";

inline std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE_MESSAGE(in, path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const fs::path& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), std::streamsize(bytes.size()));
  REQUIRE_MESSAGE(out.flush(), path.string());
}

// A folder of its own for each test, removed at its end.
struct Scratch {
  fs::path path;
  Scratch() {
    std::string name = (fs::temp_directory_path() / "vkmoe-cli-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Scratch() {
    std::error_code error;
    fs::remove_all(path, error);
  }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

struct Result {
  int exit_code = -1;  // 128 + signal where a signal ended it
  std::string out, err;
};

using Environment = std::map<std::string, std::string>;

// Runs a program with these arguments, variables on top of this process's own, and `input` as standard input.
inline Result run_command(const std::vector<std::string>& command, const Environment& environment = {},
                          const std::string& input = "", const std::string& folder = "") {
  Scratch scratch;
  write_file(scratch / "in", input);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (!folder.empty() && chdir(folder.c_str()) != 0) _exit(126);
    dup2(open((scratch / "in").c_str(), O_RDONLY), 0);
    dup2(open((scratch / "out").c_str(), O_WRONLY | O_CREAT, 0600), 1);
    dup2(open((scratch / "err").c_str(), O_WRONLY | O_CREAT, 0600), 2);
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    execvp(words[0], words.data());
    _exit(127);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  Result result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = read_file(scratch / "out");
  result.err = read_file(scratch / "err");
  return result;
}

inline Result vkmoe(std::vector<std::string> arguments, const Environment& environment = {},
                    const std::string& input = "") {
  arguments.insert(arguments.begin(), program_path);
  return run_command(arguments, environment, input);
}

// It worked and said nothing on standard error (so no validation message either).
inline void check_success(const Result& result) {
  CHECK(result.exit_code == 0);
  CHECK(result.err == "");
}

// It failed with one line that holds all of these parts, and nothing on standard output.
inline void check_failure(const Result& result, const std::vector<std::string>& parts, int exit_code = 1) {
  INFO(result.err);
  CHECK(result.exit_code == exit_code);
  CHECK(result.out == "");
  CHECK(result.err.rfind("vkmoe: ", 0) == 0);
  CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  for (const std::string& part : parts) CHECK_MESSAGE(result.err.find(part) != std::string::npos, part);
}
