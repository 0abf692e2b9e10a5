#include "sentinel/service_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "async/stop.h"
#include "base/clock.h"

namespace tb::sentinel {
namespace {

constexpr std::int64_t kTickMs = 500;
constexpr std::int64_t kExtendEveryMs = 10'000;
constexpr std::int64_t kExtensionMs = 180'000;

std::string hydration_in_words(const hydrate::Progress& progress) {
  constexpr double kMega = 1e6;
  if (progress.total == 0) return "fetching the manifest";
  const double total = static_cast<double>(progress.total);
  std::string out = fmt::format("hydrating: {} % of {:.1f} MB",
                                static_cast<int>(100 * static_cast<double>(progress.bytes) / total), total / kMega);
  if (progress.bytes_per_second > 0) out += fmt::format(", {:.1f} MB/s", progress.bytes_per_second / kMega);
  if (progress.eta_seconds) out += fmt::format(", {:.0f} s left", *progress.eta_seconds);
  return out;
}

std::string serving_in_words(const Status& status) {
  std::string out = fmt::format("serving {}", status.asset_id);
  if (status.enforcement.grade != api::Grade::kNone)
    out += fmt::format(", held back: {}", grade_name(status.enforcement.grade));
  if (status.lease && status.lease->renewal_failing) out += ", the lease cannot be renewed at present";
  return out;
}

/// The first state in which nothing more has to come before others may count on this service.
bool start_is_over(State state, bool starts_runtime) {
  if (state == State::kReady || state == State::kTraining || state == State::kSuspended) return true;
  return state == State::kDecrypt && !starts_runtime;
}

/// True where more time is in order: bytes have come, or the runtime loads, which has a limit of its own. A runtime
/// that has failed already is not worth more.
bool moves_on(const Status& status, const Told& told) {
  return (status.state == State::kDecrypt && status.error_code.empty()) ||
         (status.state == State::kHydrate && status.hydrate.bytes > told.bytes);
}

}  // namespace

std::string state_in_words(const Status& status) {
  const std::string because = status.error_code.empty() ? "" : fmt::format(" ({})", status.error_code);
  switch (status.state) {
    case State::kBoot:
      return "starting";
    case State::kAuthorize:
      return "asking for the licence" + because;
    case State::kHydrate:
      return hydration_in_words(status.hydrate);
    case State::kDecrypt:
      return "the model can be read, the runtime is awaited" + because;
    case State::kReady:
      return serving_in_words(status);
    case State::kTraining:
      return "training";
    case State::kSuspended:
      return "suspended" + because + ": nothing is served, it is asked again by itself";
    case State::kStopping:
      return "stopping";
  }
  return "";
}

std::string service_news(const Status& status, bool starts_runtime, std::int64_t now_boot_ms, Told& told) {
  std::string news;
  const auto add = [&](std::string_view line) { news.append(news.empty() ? "" : "\n").append(line); };
  if (!told.stopping && status.state == State::kStopping) {
    told.stopping = true;
    add("STOPPING=1");
  } else if (!told.ready && start_is_over(status.state, starts_runtime)) {
    told.ready = true;
    add("READY=1");
  } else if (!told.ready && moves_on(status, told) &&
             (told.extended_boot_ms == 0 || now_boot_ms - told.extended_boot_ms >= kExtendEveryMs)) {
    told.extended_boot_ms = now_boot_ms;
    told.bytes = status.hydrate.bytes;
    add(fmt::format("EXTEND_TIMEOUT_USEC={}", kExtensionMs * 1000));
  }
  if (std::string words = state_in_words(status); words != told.words) {
    add(obs::status_line(words));
    told.words = std::move(words);
  }
  return news;
}

ServiceReport::ServiceReport(obs::NotifySocket socket, Sources sources)
    : socket_(std::move(socket)), sources_(std::move(sources)) {
  if (socket_.listens()) thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

ServiceReport::~ServiceReport() = default;  // the thread stops first: it is the last member

void ServiceReport::run(const std::stop_token& stop) {
  Told told;
  const std::int64_t watchdog_ms = socket_.watchdog_ms();
  const std::int64_t every_ms = watchdog_ms > 0 ? std::clamp<std::int64_t>(watchdog_ms / 4, 1, kTickMs) : kTickMs;
  std::int64_t fed_ms = 0;
  const auto tell_news = [&] {
    const std::string news = service_news(sources_.status(), sources_.starts_runtime, boot_ms_now(), told);
    if (!news.empty()) socket_.tell(news);
  };
  while (!stop.stop_requested()) {
    tell_news();
    if (watchdog_ms > 0 && boot_ms_now() - fed_ms >= watchdog_ms / 4 && sources_.turns(watchdog_ms / 4)) {
      socket_.tell("WATCHDOG=1");
      fed_ms = boot_ms_now();
    }
    async::sleep_unless_stopped(stop, std::chrono::milliseconds(every_ms));
  }
  tell_news();  // an end that took less than a tick
}

}  // namespace tb::sentinel
