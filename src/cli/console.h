// The voice of the command line, in one place.
//
// stdout is data, stderr is for people. Errors: `trustbridge: error: …`, then `trustbridge: hint: …`; lower case, no
// full stop. With --json the result, or an error object, is the only thing on stdout. --quiet leaves errors and
// warnings. Colour only on a terminal, never with NO_COLOR or TERM=dumb.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace tb::cli {

struct Console {
  bool json = false;
  bool quiet = false;

  /// A result: with --json `value`, pretty, else `text` (lines, or empty). Throws if stdout cannot take it.
  void result(const Json& value, std::string_view text) const;
  /// Bytes to stdout as they are. Throws if stdout cannot take them.
  void data(std::string_view bytes) const;
  /// `trustbridge: …` on stderr, unless --quiet.
  void note(std::string_view text) const;
  /// `trustbridge: warning: …` on stderr, also with --quiet.
  void warning(std::string_view text) const;
  /// The error and its hint on stderr, and the error object on stdout with --json. Never throws.
  void error(const Error& error) const;
};

/// {"error": {"reason", "code", "message", "hint", "exit_status", "retryable"}}
Json error_json(const Error& error);

/// `text` with control characters as \\xNN: names and answers of others must not speak to the terminal.
std::string printable(std::string_view text);

/// True if stderr is a terminal that can rewrite its line.
bool stderr_is_terminal();
bool stdout_is_terminal();

/// "3.2 GiB", "512 B".
std::string human_bytes(std::uint64_t bytes);
/// "4 s", "3 min 20 s", "2 h 05 min".
std::string human_seconds(std::uint64_t seconds);

/// One progress line without its line end: `encrypt  45 %  1.2 GiB of 2.7 GiB  812.0 MiB/s  2 s left`, with a bar
/// of `bar_columns` characters if that is not 0. `total` 0 means unknown.
std::string progress_line(std::string_view verb, std::uint64_t done, std::uint64_t total, std::uint64_t elapsed_ms,
                          int bar_columns);

/// Shows how far a long command is: a bar ten times a second on a terminal, a line every ten seconds elsewhere,
/// nothing with --quiet. update() may be called from any thread and as often as one likes.
class Progress {
 public:
  using Milliseconds = std::function<std::int64_t()>;

  Progress(const Console& console, std::string verb, std::uint64_t total);
  /// For tests: where lines go, whether that is a terminal, and the clock.
  Progress(std::string verb, std::uint64_t total, bool terminal, std::function<void(std::string_view)> write,
           Milliseconds clock);
  /// Clears the bar.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(std::uint64_t done);

 private:
  std::string verb_;
  std::uint64_t total_;
  bool terminal_;
  std::function<void(std::string_view)> write_;
  Milliseconds clock_;
  std::int64_t started_ms_, shown_ms_;
  bool bar_on_screen_ = false;
  std::mutex mutex_;
};

}  // namespace tb::cli
