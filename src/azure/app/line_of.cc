// Where a JSON pointer leads in a text: a walk over JSON that was parsed before, so that nothing is checked again. A
// text that is not JSON ends the walk.
#include <cstdint>
#include <string>

#include "azure/app/check.h"

namespace tb::azure {
namespace {

constexpr int kMaxDepth = 70;

class Walk {
 public:
  Walk(std::string_view text, std::string_view wanted) : text_(text), wanted_(wanted) {}

  std::size_t line() {
    std::string at;
    value(at, 0);
    return found_;
  }

 private:
  char now() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() {
    for (; now() == ' ' || now() == '\t' || now() == '\r' || now() == '\n'; ++at_) {
      if (now() == '\n') ++line_;
    }
  }

  // The string's own text, escapes left as they are but for the quote and the two that a pointer knows.
  std::string string() {
    std::string out;
    for (++at_; at_ < text_.size() && now() != '"'; ++at_) {
      if (now() == '\\' && at_ + 1 < text_.size()) ++at_;
      if (now() == '~') {
        out += "~0";
      } else if (now() == '/') {
        out += "~1";
      } else {
        out += now();
      }
    }
    ++at_;
    return out;
  }

  void value(std::string& path, int depth) {
    skip_space();
    if (found_ == 0 && path == wanted_) found_ = line_;
    if (found_ != 0 || depth > kMaxDepth) return;
    if (now() == '"') {
      string();
    } else if (now() == '{' || now() == '[') {
      below(path, now() == '{', depth);
    } else {
      while (at_ < text_.size() && std::string_view(",]} \t\r\n").find(now()) == std::string_view::npos) ++at_;
    }
  }

  void below(std::string& path, bool object, int depth) {
    const std::size_t bytes = path.size();
    ++at_;
    for (std::size_t count = 0;; ++count) {
      skip_space();
      if (at_ >= text_.size() || now() == (object ? '}' : ']')) break;
      path.resize(bytes);
      if (object) {
        if (now() != '"') return;
        path += "/" + string();
        if (found_ == 0 && path == wanted_) found_ = line_;
        skip_space();
        if (now() != ':') return;
        ++at_;
      } else {
        path += "/" + std::to_string(count);
      }
      value(path, depth + 1);
      if (found_ != 0) return;
      skip_space();
      if (now() != ',') break;
      ++at_;
    }
    path.resize(bytes);
    if (at_ < text_.size()) ++at_;
  }

  std::string_view text_, wanted_;
  std::size_t at_ = 0, line_ = 1, found_ = 0;
};

}  // namespace

std::size_t line_of(std::string_view text, std::string_view pointer) {
  return Walk(text, pointer).line();
}

}  // namespace tb::azure
