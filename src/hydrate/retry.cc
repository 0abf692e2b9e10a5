#include "hydrate/retry.h"

#include <chrono>

#include "async/stop.h"

namespace tb::hydrate {

void Retry::wait_or_rethrow(const Error& error, std::optional<std::int64_t> retry_after_ms) {
  if (!error.retryable()) throw;
  const auto delay = async::next_delay(policy_, ++failures_, async::unit_random, retry_after_ms);
  if (!delay) throw;
  if (!async::sleep_unless_stopped(stop_, std::chrono::milliseconds(*delay))) {
    throw Error("cancelled", "the download was stopped", error);
  }
}

}  // namespace tb::hydrate
