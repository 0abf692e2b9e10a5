// How far a hydration is: counted by its workers, read by /status, the log and metrics.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>

#include "base/clock.h"

namespace tb::hydrate {

/// A snapshot. Bytes are ciphertext that has verified; the rate is that of the last ten seconds or so; there is no eta
/// before there is a rate.
struct Progress {
  std::uint64_t bytes = 0;
  std::uint64_t total = 0;
  std::uint64_t from_cache_bytes = 0;  ///< of `bytes`: read from the cache, not downloaded
  std::uint64_t retries = 0;           ///< attempts after the first, of all ranges
  std::uint64_t cache_faults = 0;      ///< records that the cache could not keep
  double bytes_per_second = 0;
  std::optional<double> eta_seconds;
};

class Meter {
 public:
  /// `now` gives milliseconds that never go back; tests pass their own.
  explicit Meter(Clock now = boot_ms_now) : now_(std::move(now)) {}
  /// A new piece of work of `total` bytes.
  void start(std::uint64_t total);
  void add(std::uint64_t bytes, bool from_cache);
  void retried();
  void cache_failed();
  Progress snapshot() const;

 private:
  struct Sample {
    std::int64_t at_ms;
    std::uint64_t bytes;
  };
  Clock now_;
  mutable std::mutex mutex_;
  std::uint64_t total_ = 0, bytes_ = 0, from_cache_ = 0, retries_ = 0, cache_faults_ = 0;
  std::deque<Sample> samples_;  ///< one per half second at most, over the last ten seconds
};

}  // namespace tb::hydrate
