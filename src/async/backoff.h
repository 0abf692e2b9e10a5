// How long to wait before the next attempt: exponential, jittered, never shorter than the server asked for. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

namespace tb::async {

struct BackoffPolicy {
  std::int64_t first_ms = 2000;               ///< before the second attempt
  double factor = 2;                          ///< growth from one wait to the next
  std::int64_t max_ms = 60'000;               ///< no own wait is longer
  double jitter = 0.25;                       ///< the wait is spread evenly over ±this share
  int attempts = 4;                           ///< all attempts, the first included: waits of 2, 4, 8 s between four
  std::int64_t max_retry_after_ms = 300'000;  ///< a server's wish above this is cut to it
};

/// Uniform in [0, 1): the source of jitter; tests pass a fixed one.
using UnitRandom = std::function<double()>;
/// From the system's CSPRNG.
double unit_random();

/// Milliseconds to wait after attempt number `attempt` (1 = the first) has failed; nullopt if it was the last one.
/// With `retry_after_ms` (what the server asked for) the wait is at least that, cut to max_retry_after_ms.
std::optional<std::int64_t> next_delay(const BackoffPolicy& policy, int attempt, const UnitRandom& random = unit_random,
                                       std::optional<std::int64_t> retry_after_ms = std::nullopt);

}  // namespace tb::async
