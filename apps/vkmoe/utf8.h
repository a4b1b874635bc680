// Joins the bytes of tokens into whole UTF-8 characters, so that a terminal never sees a part of one.
#pragma once
#include <string>
#include <string_view>
#include <utility>

class Utf8Joiner {
 public:
  // The bytes so far that end with a whole character. Bytes that cannot become one pass as they are.
  std::string push(std::string_view bytes) {
    pending_ += bytes;
    const size_t keep = incomplete_tail();
    std::string whole = pending_.substr(0, pending_.size() - keep);
    pending_.erase(0, whole.size());
    return whole;
  }
  std::string flush() { return std::exchange(pending_, {}); }

 private:
  // Length of the beginning of a character at the end of pending_.
  size_t incomplete_tail() const {
    for (size_t back = 1; back <= 3 && back <= pending_.size(); ++back) {
      const unsigned char c = static_cast<unsigned char>(pending_[pending_.size() - back]);
      if ((c & 0xC0) == 0x80) continue;
      const size_t length = c >= 0xF0 && c < 0xF5 ? 4 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xC2 && c < 0xE0 ? 2 : 1;
      return length > back ? back : 0;
    }
    return 0;
  }
  std::string pending_;
};
