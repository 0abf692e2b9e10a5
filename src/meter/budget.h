// Token budgets: the worst case is taken before a request goes on, what it really cost afterwards.
//
// So requests at once cannot spend more than there is, and one that is cut off, repeated or left by its client gives
// back what it did not use. Three limits hold at once: the key's tokens a minute (a bucket that fills evenly), the
// key's tokens over its life, and the contract's quotas a day, month or in all.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "api/usage.h"
#include "base/clock.h"
#include "meter/token_usage.h"

namespace tb::meter {

/// Of one subject; nothing: no limit.
struct TokenLimits {
  std::optional<std::int64_t> per_minute, total;
};

/// The worst that a request may cost.
struct TokenWant {
  std::string subject;
  TokenLimits limits;
  std::int64_t input = 0;        ///< most
  std::int64_t output_each = 0;  ///< most of one sequence
  std::int64_t sequences = 1;
  bool can_be_lowered = true;  ///< fewer tokens a sequence than wanted are still an answer
};

struct TokenGrant {
  std::uint64_t number = 0;
  std::int64_t input = 0, output_each = 0, sequences = 1;
  bool lowered = false;  ///< output_each is less than was wanted
  bool limited = false;  ///< a budget or quota of tokens holds: no more than this may come
  std::int64_t output() const { return output_each * sequences; }
};

struct TokenRefusal {
  enum class Why { kRate, kBudget, kQuota };
  Why why = Why::kBudget;
  std::int64_t retry_after_ms = 0;  ///< of kRate
};

/// Of the bucket, for the client.
struct RateLevel {
  std::int64_t limit = 0, remaining = 0, reset_ms = 0;
};

/// What was used of the contract before.
struct UsedBefore {
  std::map<std::string, std::int64_t, std::less<>> by_subject;    ///< tokens
  std::map<std::string, std::int64_t, std::less<>> by_dimension;  ///< in the period of its quota
};

class Budgets {
 public:
  static constexpr std::size_t kMaxSubjects = 100'000;  ///< with a limit, at once
  static constexpr std::int64_t kMaxTokens = std::int64_t{1} << 50;

  using Quotas = std::map<std::string, api::Quota>;

  // All thread-safe. Times: boot clock for the bucket, server-anchored wall clock for periods.
  void restore(UsedBefore used, UnixMs now);
  /// What quotas hold from now on; `used`: what is known to be used in their periods.
  void set_quotas(Quotas quotas, const std::map<std::string, std::int64_t, std::less<>>& used, UnixMs now);

  /// No limit holds a request of such a subject: it may have all that it wants, grant_of(), and needs no reservation.
  bool is_unlimited(const TokenLimits& limits) const { return !limits.per_minute && !limits.total && !has_quotas_; }
  static TokenGrant grant_of(const TokenWant& want);
  bool has_quotas() const { return has_quotas_; }
  std::expected<TokenGrant, TokenRefusal> reserve(const TokenWant& want, std::int64_t boot_ms, UnixMs now);
  /// Ends a reservation: `used` is what is billed; nothing: not even a request. `bytes`: of both bodies. `number` 0:
  /// there was none.
  void settle(std::uint64_t number, const std::optional<TokenUsage>& used, std::uint64_t bytes, std::int64_t boot_ms,
              UnixMs now);
  /// Nothing where the subject has no such limit.
  std::optional<RateLevel> rate(std::string_view subject, const TokenLimits& limits, std::int64_t boot_ms);
  /// Reservations that have not been settled.
  std::size_t open() const;
  std::int64_t reserved(std::string_view subject) const;

 private:
  struct Subject {
    std::int64_t used = 0, reserved = 0;
    std::int64_t per_minute = 0;  ///< of the bucket as it stands; 0: none yet
    double level = 0;
    std::int64_t filled_boot_ms = 0;
  };
  struct QuotaState {
    api::Quota quota;
    UnixMs since = 0;
    std::int64_t used = 0, reserved = 0;
  };
  struct Open {
    std::string subject;
    bool of_subject = false;  ///< it holds some of its key's budget
    std::int64_t input = 0, output = 0, from_bucket = 0;
  };

  Subject* subject_of(const TokenWant& want, std::int64_t boot_ms);
  static void fill(Subject& subject, std::int64_t per_minute, std::int64_t boot_ms);
  void turn_periods(UnixMs now);
  std::int64_t left(std::string_view dimension) const;
  void hold(std::string_view dimension, std::int64_t amount);
  void use(std::string_view dimension, std::int64_t reserved, std::int64_t used);

  mutable std::mutex mutex_;
  std::unordered_map<std::string, Subject> subjects_;
  std::map<std::string, std::int64_t, std::less<>> used_before_;  ///< of subjects that have not come yet
  std::map<std::string, QuotaState, std::less<>> quotas_;
  std::atomic<bool> has_quotas_ = false;
  std::unordered_map<std::uint64_t, Open> open_;
  std::uint64_t next_ = 1;
  std::int64_t next_sweep_boot_ms_ = 0;
};

}  // namespace tb::meter
