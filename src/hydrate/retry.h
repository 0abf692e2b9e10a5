// One piece of work that is tried again: counts failures in a row, waits between them, gives up.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>

#include "async/backoff.h"
#include "base/error.h"

namespace tb::hydrate {

class Retry {
 public:
  Retry(const async::BackoffPolicy& policy, std::stop_token stop) : policy_(policy), stop_(std::move(stop)) {}

  /// To be called in the catch clause of `error`. Waits (jittered, at least `retry_after_ms`) and returns if another
  /// attempt can help; rethrows if the error is final or it was the last attempt. Throws "cancelled" when stopped.
  void wait_or_rethrow(const Error& error, std::optional<std::int64_t> retry_after_ms);
  /// The work moved on: failures count from one again.
  void progressed() { failures_ = 0; }

 private:
  async::BackoffPolicy policy_;
  std::stop_token stop_;
  int failures_ = 0;
};

}  // namespace tb::hydrate
