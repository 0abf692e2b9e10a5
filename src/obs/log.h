// The program's log: one JSON object a line on stderr, {"ts","level","component","msg", fields…}; plain text where
// stderr is a terminal. A Log is a cheap handle that is passed down from main: there is no global one.
// Never give it a key, a token, a signed URL (SecretUrl::printable() is meant for this) or plaintext.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "base/clock.h"
#include "base/result.h"

namespace tb::obs {

enum class Level { kDebug, kInfo, kWarn, kError };

/// "debug info warn error" ("warning" too); else "config_invalid".
Result<Level> parse_level(std::string_view text);
std::string_view level_name(Level level);

/// One field of a line; views are only read during the call.
struct Field {
  template <typename T>
  Field(std::string_view name_in, const T& value_in) : name(name_in) {
    if constexpr (std::is_same_v<T, bool>) {
      value = value_in;
    } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
      value = static_cast<std::int64_t>(value_in);
    } else if constexpr (std::is_integral_v<T>) {
      value = static_cast<std::uint64_t>(value_in);
    } else if constexpr (std::is_floating_point_v<T>) {
      value = static_cast<double>(value_in);
    } else {
      value = std::string_view(value_in);
    }
  }
  std::string_view name;
  std::variant<bool, std::int64_t, std::uint64_t, double, std::string_view> value;
};
using Fields = std::initializer_list<Field>;

enum class Format { kAuto, kJson, kText };  ///< kAuto: text on a terminal, JSON elsewhere

class Log {
 public:
  /// Takes whole lines, each with its newline; called under a lock.
  using Sink = std::function<void(std::string_view line)>;

  /// Drops everything: for tests and for libraries that nobody listens to.
  Log() = default;
  /// Writes lines of `level` and above to stderr.
  static Log to_stderr(Level level, Format format = Format::kAuto);
  /// Writes to `sink`, in `format` (kAuto is JSON), timed by `clock`.
  static Log to_sink(Sink sink, Level level, Format format = Format::kJson, Clock clock = unix_ms_now);

  /// The same log under another component name.
  Log named(std::string_view component) const;

  bool enabled(Level level) const;
  void write(Level level, std::string_view msg, Fields fields = {}) const;
  void debug(std::string_view msg, Fields fields = {}) const { write(Level::kDebug, msg, fields); }
  void info(std::string_view msg, Fields fields = {}) const { write(Level::kInfo, msg, fields); }
  void warn(std::string_view msg, Fields fields = {}) const { write(Level::kWarn, msg, fields); }
  void error(std::string_view msg, Fields fields = {}) const { write(Level::kError, msg, fields); }
  /// `msg` with the error's `reason`, its story as `error`, and its hint.
  void error(std::string_view msg, const Error& error, Level level = Level::kError) const;

 private:
  struct Core;
  std::shared_ptr<Core> core_;
  std::string component_;
};

}  // namespace tb::obs
