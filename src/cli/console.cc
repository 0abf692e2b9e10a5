#include "cli/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/clock.h"
#include "base/fs.h"

namespace tb::cli {
namespace {

constexpr std::int64_t kBarIntervalMs = 100;
constexpr std::int64_t kLineIntervalMs = 10'000;
constexpr int kBarColumns = 24;

// A message on stderr that cannot be written has nowhere else to go.
void to_stderr(std::string_view text) {
  if (!write_full(STDERR_FILENO, as_bytes(text), "standard error")) return;
}

bool is_capable_terminal(int fd) {
  const char* term = std::getenv("TERM");
  return isatty(fd) == 1 && !(term != nullptr && std::string_view(term) == "dumb");
}

std::string painted(std::string_view text, std::string_view sgr) {
  const char* no_color = std::getenv("NO_COLOR");
  if (!is_capable_terminal(STDERR_FILENO) || (no_color != nullptr && *no_color != '\0')) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", sgr, text);
}

}  // namespace

void Console::data(std::string_view bytes) const {
  value_or_throw(write_full(STDOUT_FILENO, as_bytes(bytes), "standard output"));
}

void Console::result(const Json& value, std::string_view text) const {
  if (json) {
    data(value.pretty() + "\n");
  } else if (!text.empty()) {
    data(text.ends_with('\n') ? std::string(text) : std::string(text) + "\n");
  }
}

void Console::note(std::string_view text) const {
  if (!quiet) to_stderr(fmt::format("trustbridge: {}\n", printable(text)));
}

void Console::warning(std::string_view text) const {
  to_stderr(fmt::format("trustbridge: {} {}\n", painted("warning:", "33"), printable(text)));
}

void Console::error(const Error& error) const {
  to_stderr(fmt::format("trustbridge: {} {}\n", painted("error:", "1;31"), printable(error.story())));
  if (std::string hint = error.hint(); !hint.empty()) {
    to_stderr(fmt::format("trustbridge: {} {}\n", painted("hint:", "36"), printable(hint)));
  }
  if (json) {
    if (!write_full(STDOUT_FILENO, as_bytes(error_json(error).pretty() + "\n"), "standard output")) return;
  }
}

std::string printable(std::string_view text) {
  std::string out;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

Json error_json(const Error& error) {
  Json inner = Json::object();
  inner.set("reason", error.reason);
  inner.set("code", code_name(error.code()));
  inner.set("message", error.story());
  inner.set("hint", error.hint());
  inner.set("exit_status", error.exit_status());
  inner.set("retryable", error.retryable());
  Json outer = Json::object();
  outer.set("error", std::move(inner));
  return outer;
}

bool stderr_is_terminal() {
  return is_capable_terminal(STDERR_FILENO);
}

bool stdout_is_terminal() {
  return isatty(STDOUT_FILENO) == 1;
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_seconds(std::uint64_t seconds) {
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3600) return fmt::format("{} min {:02} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {:02} min", seconds / 3600, seconds / 60 % 60);
}

std::string progress_line(std::string_view verb, std::uint64_t done, std::uint64_t total, std::uint64_t elapsed_ms,
                          int bar_columns) {
  const double seconds = static_cast<double>(elapsed_ms) / 1000;
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  const std::string speed = human_bytes(static_cast<std::uint64_t>(rate)) + "/s";
  if (total == 0) return fmt::format("{}  {}  {}", verb, human_bytes(done), speed);
  done = std::min(done, total);
  const double share = static_cast<double>(done) / static_cast<double>(total);
  std::string bar;
  if (bar_columns > 0) {
    const auto filled = static_cast<std::size_t>(share * bar_columns);
    bar = fmt::format("  [{}{}]", std::string(filled, '#'),
                      std::string(static_cast<std::size_t>(bar_columns) - filled, '.'));
  }
  std::string left = "?";
  if (rate > 0) left = human_seconds(static_cast<std::uint64_t>(static_cast<double>(total - done) / rate + 0.5));
  return fmt::format("{}{}  {:.0f} %  {} of {}  {}  {} left", verb, bar, share * 100, human_bytes(done),
                     human_bytes(total), speed, left);
}

Progress::Progress(const Console& console, std::string verb, std::uint64_t total)
    : Progress(std::move(verb), total, stderr_is_terminal(),
               console.quiet ? std::function<void(std::string_view)>() : to_stderr, boot_ms_now) {}

Progress::Progress(std::string verb, std::uint64_t total, bool terminal, std::function<void(std::string_view)> write,
                   Milliseconds clock)
    : verb_(std::move(verb)),
      total_(total),
      terminal_(terminal),
      write_(std::move(write)),
      clock_(std::move(clock)),
      started_ms_(clock_()),
      shown_ms_(started_ms_) {}

Progress::~Progress() {
  if (bar_on_screen_) write_("\r\x1b[K");
}

void Progress::update(std::uint64_t done) {
  if (!write_) return;
  std::lock_guard lock(mutex_);
  const std::int64_t now = clock_();
  if (now - shown_ms_ < (terminal_ ? kBarIntervalMs : kLineIntervalMs)) return;
  shown_ms_ = now;
  const auto elapsed = static_cast<std::uint64_t>(now - started_ms_);
  if (terminal_) {
    write_("\r" + progress_line(verb_, done, total_, elapsed, kBarColumns) + "\x1b[K");
    bar_on_screen_ = true;
  } else {
    write_("trustbridge: " + progress_line(verb_, done, total_, elapsed, 0) + "\n");
  }
}

}  // namespace tb::cli
