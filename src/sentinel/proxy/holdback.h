// What the contract's grade does to requests while the model goes on being served (docs/suspension.md): a notice in
// every answer, one rate for all, or nothing new.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "api/enforcement.h"
#include "sentinel/proxy/filter.h"

namespace tb::sentinel::proxy {

/// Requests per minute of everybody together; a burst of at most ten seconds' worth, and at least one. Pure but for
/// what it remembers; times are of the boot clock.
class SharedRate {
 public:
  explicit SharedRate(std::int64_t per_minute) : per_minute_(per_minute) {}
  bool take(std::int64_t now_ms);
  std::int64_t per_minute() const { return per_minute_; }

 private:
  std::int64_t burst_ms() const;
  std::int64_t per_minute_;
  std::optional<std::int64_t> paid_until_ms_;  ///< what has been let through is paid for until then
};

/// Any thread.
class Holdback {
 public:
  void set(api::Enforcement enforcement);
  api::Enforcement get() const;
  /// The refusal of a request that comes now.
  std::optional<Refusal> refuse(std::int64_t now_ms);
  /// For the answer; empty: none.
  std::string notice() const;

 private:
  mutable std::mutex mutex_;
  api::Enforcement enforcement_;
  std::optional<SharedRate> rate_;
};

inline constexpr std::string_view kNoticeField = "X-TrustBridge-Notice";

/// 403 while draining, 429 above the shared rate, a notice in each answer from warn on. `holdback` outlives it.
std::unique_ptr<Filter> holdback_filter(Holdback& holdback);

}  // namespace tb::sentinel::proxy
