// What the programs share: failures, files and standard output.
#pragma once
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// Ends the program: main prints "vkmoe: MESSAGE" and returns the exit code.
struct Failure : std::runtime_error {
  int exit_code;
  explicit Failure(const std::string& message, int exit_code = 1)
      : std::runtime_error(message), exit_code(exit_code) {}
};

// The reader of standard output has gone; main ends quietly.
struct OutputClosed {};

// The bytes of a file, or of standard input for "-".
std::string read_input(const std::string& path);
std::string input_name(const std::string& path);  // for messages

// Writes a file whole or not at all: into a temporary file beside it, renamed at the end.
void write_file(const std::string& path, const std::vector<std::string_view>& parts);

// Fails as write_file() would where the file cannot be made, before the work for it begins.
void check_writable(const std::string& path);

// To standard output, at once. Throws OutputClosed when its reader has gone.
void print(std::string_view text);
void print_json(const nlohmann::ordered_json& value);

std::string fixed(double value, int digits);
