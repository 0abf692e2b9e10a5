// When to try a range again: exponential backoff with jitter, the server's Retry-After honoured, an end after too many
// failures without one byte of progress between them. Pure but for the random number, which the caller gives.
#pragma once

#include <cstdint>
#include <optional>

namespace tb::hydrate {

struct RetryPolicy {
  std::int64_t first_ms = 2000;     ///< 2, 4, 8 s …
  std::int64_t most_ms = 60'000;    ///< one wait never exceeds this, Retry-After included
  int failures_in_a_row = 6;        ///< the last of them is thrown
};

/// Milliseconds to wait before attempt `failures` + 1, or nothing if that was the last. `failures` counts from 1;
/// `random` is uniform over 64 bits: the wait is between half and the whole of the exponential step, and never shorter
/// than `retry_after_ms`, cut at most_ms.
std::optional<std::int64_t> wait_before_retry(const RetryPolicy& policy, int failures,
                                              std::optional<std::int64_t> retry_after_ms, std::uint64_t random);

}  // namespace tb::hydrate
