// Files, standard output and failures for every program.
#include "output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#ifdef _WIN32
#include <process.h>
#define getpid _getpid
#else
#include <unistd.h>
#endif

namespace fs = std::filesystem;

std::string input_name(const std::string& path) { return path == "-" ? "standard input" : path; }

std::string read_input(const std::string& path) {
  const bool standard = path == "-";
  std::error_code error;
  if (!standard && fs::is_directory(path, error)) throw Failure(path + ": is a folder, expected a file");
  const std::unique_ptr<FILE, int (*)(FILE*)> file(standard ? stdin : std::fopen(path.c_str(), "rb"),
                                                   [](FILE* f) { return f == stdin ? 0 : std::fclose(f); });
  if (!file) throw Failure(path + ": cannot be opened: " + std::strerror(errno));
  std::string text;
  char buffer[65536];
  while (const size_t count = std::fread(buffer, 1, sizeof buffer, file.get())) text.append(buffer, count);
  if (std::ferror(file.get())) {
    throw Failure(input_name(path) + ": cannot be read: " + std::strerror(errno));
  }
  return text;
}

// `name` is what messages call the file.
static void write_parts(const std::string& path, const std::string& name,
                        const std::vector<std::string_view>& parts) {
  FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) throw Failure(name + ": cannot be created: " + std::strerror(errno));
  bool written = true;
  for (std::string_view part : parts)
    written = written && std::fwrite(part.data(), 1, part.size(), file) == part.size();
  written = written && std::fflush(file) == 0;
  const int reason = errno;
  if (std::fclose(file) != 0 || !written) throw Failure(name + ": cannot be written: " + std::strerror(reason));
}

static std::string temporary_name(const std::string& path) { return path + ".part" + std::to_string(getpid()); }

void check_writable(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) throw Failure(path + ": is a folder, expected a file");
  if (fs::exists(path, error) && !fs::is_regular_file(path, error)) return;
  write_parts(temporary_name(path), path, {});
  fs::remove(temporary_name(path), error);
}

void write_file(const std::string& path, const std::vector<std::string_view>& parts) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_regular_file(path, error)) {  // a pipe or a device is not to be replaced
    if (fs::is_directory(path, error)) throw Failure(path + ": is a folder, expected a file");
    return write_parts(path, path, parts);
  }
  const std::string temporary = temporary_name(path);
  try {
    write_parts(temporary, path, parts);
    fs::rename(temporary, path, error);
    if (error) throw Failure(path + ": cannot be written: " + error.message());
  } catch (...) {
    fs::remove(temporary, error);
    throw;
  }
}

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  if (errno == EPIPE) throw OutputClosed();
  throw Failure(std::string("standard output cannot be written: ") + std::strerror(errno));
}

void print_json(const nlohmann::ordered_json& value) {
  print(value.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}
