#include "obs/log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <mutex>

#include "base/fs.h"
#include "base/json.h"

namespace tb::obs {

namespace {

// A line is cut off nowhere, but one value is: a log must not grow by what a peer sends.
constexpr std::size_t kMaxValueBytes = 4096;

Json json_value(const Field& field) {
  return std::visit(
      [](const auto& v) -> Json {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, double>) {
          return std::isfinite(v) ? Json::real(v) : Json();
        } else if constexpr (std::is_same_v<T, std::string_view>) {
          const std::string_view cut = v.substr(0, kMaxValueBytes);
          // Bytes that are no UTF-8 would make the line unreadable for every JSON parser.
          return is_utf8(cut) ? Json(cut) : Json("hex:" + to_hex(as_bytes(cut)));
        } else {
          return Json(v);
        }
      },
      field.value);
}

/// Control characters would let a value write lines of its own on a terminal.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::string text_value(const Field& field) {
  const Json value = json_value(field);
  if (!value.is_string()) return value.dump();
  const std::string& text = value.as_string();
  const bool bare = !text.empty() && text.find_first_of(" \"=") == std::string::npos;
  return bare ? printable(text) : '"' + printable(text) + '"';
}

void write_stderr(std::string_view line) {
  // A log that cannot be written has nowhere to say so.
  (void)write_full(STDERR_FILENO, as_bytes(line), "stderr");
}

}  // namespace

std::string_view level_name(Level level) {
  constexpr std::string_view kNames[] = {"debug", "info", "warn", "error"};
  return kNames[static_cast<std::size_t>(level)];
}

Result<Level> parse_level(std::string_view text) {
  for (const Level level : {Level::kDebug, Level::kInfo, Level::kWarn, Level::kError}) {
    if (text == level_name(level)) return level;
  }
  if (text == "warning") return Level::kWarn;
  return fail("config_invalid",
              fmt::format("unknown log level \"{}\": use debug, info, warn or error", printable(text)));
}

struct Log::Core {
  Sink sink;
  Level level = Level::kInfo;
  bool json = true;
  Clock clock;
  std::mutex mutex;
};

Log Log::to_stderr(Level level, Format format) {
  if (format == Format::kAuto) format = isatty(STDERR_FILENO) == 1 ? Format::kText : Format::kJson;
  return to_sink(write_stderr, level, format);
}

Log Log::to_sink(Sink sink, Level level, Format format, Clock clock) {
  Log log;
  log.core_ = std::make_shared<Core>();
  log.core_->sink = std::move(sink);
  log.core_->level = level;
  log.core_->json = format != Format::kText;
  log.core_->clock = std::move(clock);
  return log;
}

Log Log::named(std::string_view component) const {
  Log log = *this;
  log.component_ = component;
  return log;
}

bool Log::enabled(Level level) const {
  return core_ && level >= core_->level;
}

void Log::write(Level level, std::string_view msg, Fields fields) const {
  if (!enabled(level)) return;
  const std::string ts = to_rfc3339(core_->clock(), true);
  std::string line;
  if (core_->json) {
    Json::Object object{{"ts", ts}, {"level", level_name(level)}, {"component", component_}, {"msg", msg}};
    for (const Field& field : fields) object.emplace_back(field.name, json_value(field));
    line = Json(std::move(object)).dump();
  } else {
    line = fmt::format("{} {:<5} {}{}{}", ts, level_name(level), component_, component_.empty() ? "" : ": ",
                       printable(msg));
    for (const Field& field : fields) line += fmt::format(" {}={}", field.name, text_value(field));
  }
  line += '\n';
  std::lock_guard lock(core_->mutex);
  core_->sink(line);
}

void Log::error(std::string_view msg, const Error& error, Level level) const {
  const std::string story = error.story();
  const std::string hint = error.hint();
  write(level, msg, {{"reason", error.reason}, {"error", story}, {"hint", hint}});
}

}  // namespace tb::obs
