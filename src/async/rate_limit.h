// A bound on bytes a second that all workers of a download share.
//
// A token bucket, kept as the one moment at which everything taken so far would have been earned: a taker moves it on
// by what it takes and sleeps until then, less the burst that a rested bucket may give at once. Takers are served in
// the order in which they come, a large take cannot be starved by small ones, and nobody wakes for nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>

namespace tb::async {

class RateLimit {
 public:
  /// Tests put in their own.
  struct Time {
    std::function<std::chrono::nanoseconds()> now;  ///< since any fixed moment, never set back
    /// Sleeps; false if a stop was requested meanwhile.
    std::function<bool(const std::stop_token&, std::chrono::nanoseconds)> sleep;
    static Time real();
  };

  /// `bytes_per_second` ≥ 1. `burst_bytes` is what may pass at once after a rest; over any time t at most
  /// burst_bytes + t × bytes_per_second pass, one take that is larger than the burst apart.
  RateLimit(std::uint64_t bytes_per_second, std::uint64_t burst_bytes, Time time = Time::real());
  /// With a burst of a tenth of a second, but at least 64 KiB: what keeps a socket's buffer from running full between
  /// two wake-ups of its reader.
  explicit RateLimit(std::uint64_t bytes_per_second);

  /// Returns when `bytes` more may have passed; of any size, called before or after they pass. Any thread. Throws
  /// "cancelled" on a stop request; what was taken stays taken.
  void take(std::uint64_t bytes, std::stop_token stop = {});

 private:
  double ns_per_byte_;
  std::chrono::nanoseconds burst_;
  Time time_;
  std::mutex mutex_;
  std::chrono::nanoseconds earned_at_;  ///< when all that was taken has been earned
};

}  // namespace tb::async
