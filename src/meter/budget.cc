#include "meter/budget.h"

#include <algorithm>
#include <cmath>

namespace tb::meter {
namespace {

constexpr std::int64_t kMinuteMs = 60'000;
constexpr std::int64_t kSweepMs = 1'000;
constexpr std::int64_t kNoLimit = Budgets::kMaxTokens;

std::int64_t tokens_of(const TokenUsage& usage) {
  return usage.input_tokens + usage.output_tokens;
}

}  // namespace

void Budgets::restore(UsedBefore used, UnixMs now) {
  const std::scoped_lock lock(mutex_);
  used_before_ = std::move(used.by_subject);
  for (auto& [dimension, state] : quotas_) {
    state.since = state.quota.since(now);
    const auto found = used.by_dimension.find(dimension);
    state.used = found == used.by_dimension.end() ? 0 : found->second;
  }
}

void Budgets::set_quotas(Quotas quotas, const std::map<std::string, std::int64_t, std::less<>>& used, UnixMs now) {
  const std::scoped_lock lock(mutex_);
  std::map<std::string, QuotaState, std::less<>> next;
  for (const auto& [dimension, quota] : quotas) {
    QuotaState state{.quota = quota, .since = quota.since(now)};
    if (const auto found = used.find(dimension); found != used.end()) state.used = found->second;
    if (const auto before = quotas_.find(dimension); before != quotas_.end()) {
      state.reserved = before->second.reserved;
      // What the ledger knows lags behind what was settled here.
      const bool same_period = before->second.quota.period == quota.period && before->second.since == state.since;
      if (same_period) state.used = std::max(state.used, before->second.used);
    }
    next.emplace(dimension, state);
  }
  quotas_ = std::move(next);
  has_quotas_ = !quotas_.empty();
}

/// Null where no limit needs one, or there is no room for one more.
Budgets::Subject* Budgets::subject_of(const TokenWant& want, std::int64_t boot_ms) {
  if (!want.limits.per_minute && !want.limits.total) return nullptr;
  if (const auto found = subjects_.find(want.subject); found != subjects_.end()) return &found->second;
  if (subjects_.size() >= kMaxSubjects) {
    if (boot_ms < next_sweep_boot_ms_) return nullptr;
    next_sweep_boot_ms_ = boot_ms + kSweepMs;
    std::erase_if(subjects_, [&](const auto& entry) {
      Subject subject = entry.second;
      fill(subject, subject.per_minute, boot_ms);
      return subject.used == 0 && subject.reserved == 0 && subject.level >= static_cast<double>(subject.per_minute);
    });
    if (subjects_.size() >= kMaxSubjects) return nullptr;
  }
  Subject subject;
  if (const auto before = used_before_.find(want.subject); before != used_before_.end()) {
    subject.used = before->second;
    used_before_.erase(before);
  }
  return &subjects_.emplace(want.subject, subject).first->second;
}

void Budgets::fill(Subject& subject, std::int64_t per_minute, std::int64_t boot_ms) {
  if (subject.per_minute != per_minute) {
    // A new limit: what was taken from the old one stays taken.
    subject.level += static_cast<double>(per_minute - subject.per_minute);
    subject.per_minute = per_minute;
    if (subject.filled_boot_ms == 0) subject.filled_boot_ms = boot_ms;
  }
  const auto passed = static_cast<double>(std::max<std::int64_t>(0, boot_ms - subject.filled_boot_ms));
  subject.level += passed * static_cast<double>(per_minute) / kMinuteMs;
  subject.level = std::min(subject.level, static_cast<double>(per_minute));
  subject.filled_boot_ms = std::max(subject.filled_boot_ms, boot_ms);
}

/// A period that has begun starts from nothing; a clock that went back changes nothing.
void Budgets::turn_periods(UnixMs now) {
  for (auto& [dimension, state] : quotas_) {
    const UnixMs since = state.quota.since(now);
    if (since <= state.since) continue;
    state.since = since;
    state.used = 0;
  }
}

std::int64_t Budgets::left(std::string_view dimension) const {
  const auto found = quotas_.find(dimension);
  if (found == quotas_.end()) return kNoLimit;
  return found->second.quota.limit - found->second.used - found->second.reserved;
}

void Budgets::hold(std::string_view dimension, std::int64_t amount) {
  if (const auto found = quotas_.find(dimension); found != quotas_.end()) found->second.reserved += amount;
}

void Budgets::use(std::string_view dimension, std::int64_t reserved, std::int64_t used) {
  const auto found = quotas_.find(dimension);
  if (found == quotas_.end()) return;
  // A quota that came meanwhile holds nothing of a request that began before it.
  found->second.reserved = std::max<std::int64_t>(0, found->second.reserved - reserved);
  found->second.used += used;
}

TokenGrant Budgets::grant_of(const TokenWant& want) {
  return {.input = std::min(want.input, kNoLimit),
          .output_each = std::min(want.output_each, kNoLimit / std::max<std::int64_t>(1, want.sequences)),
          .sequences = std::max<std::int64_t>(1, want.sequences)};
}

std::expected<TokenGrant, TokenRefusal> Budgets::reserve(const TokenWant& want, std::int64_t boot_ms, UnixMs now) {
  using Why = TokenRefusal::Why;
  const std::scoped_lock lock(mutex_);
  turn_periods(now);
  Subject* const subject = subject_of(want, boot_ms);
  const bool has_limit = want.limits.per_minute || want.limits.total;
  if (has_limit && subject == nullptr) return std::unexpected(TokenRefusal{Why::kRate, kMinuteMs});

  const std::int64_t key_left = want.limits.total ? *want.limits.total - subject->used - subject->reserved : kNoLimit;
  const std::int64_t quota_left = std::min({left("tokens"), left("output_tokens") + std::min(want.input, kNoLimit)});
  const std::int64_t tokens_left = std::min(key_left, quota_left);
  const Why why = key_left <= quota_left ? Why::kBudget : Why::kQuota;
  for (const auto* dimension : {"requests", "bytes", "gb_transferred", "gpu_minutes"}) {
    if (left(dimension) < 1) return std::unexpected(TokenRefusal{Why::kQuota});
  }
  if (left("input_tokens") < want.input) return std::unexpected(TokenRefusal{Why::kQuota});

  TokenGrant grant = grant_of(want);
  grant.limited = want.limits.total || quotas_.contains("tokens") || quotas_.contains("output_tokens");
  const std::int64_t for_output = tokens_left - grant.input;
  if (for_output < grant.output()) {
    const std::int64_t each = for_output / grant.sequences;
    if (for_output < 0 || each < 1 || !want.can_be_lowered) return std::unexpected(TokenRefusal{why});
    grant.output_each = each;
    grant.lowered = true;
  }
  const std::int64_t needed = grant.input + grant.output();
  Open open{.subject = want.subject, .of_subject = subject != nullptr, .input = grant.input, .output = grant.output()};
  if (want.limits.per_minute) {
    const std::int64_t per_minute = std::max<std::int64_t>(1, *want.limits.per_minute);
    fill(*subject, per_minute, boot_ms);
    // One that can never fit waits for a full bucket, and leaves it in debt if it really costs that much.
    open.from_bucket = std::min(needed, per_minute);
    const double missing = static_cast<double>(open.from_bucket) - subject->level;
    if (missing > 0) {
      const auto wait = static_cast<std::int64_t>(std::ceil(missing * kMinuteMs / static_cast<double>(per_minute)));
      return std::unexpected(TokenRefusal{Why::kRate, std::max<std::int64_t>(1, wait)});
    }
    subject->level -= static_cast<double>(open.from_bucket);
  }
  if (subject != nullptr) subject->reserved += needed;
  hold("tokens", needed);
  hold("input_tokens", grant.input);
  hold("output_tokens", grant.output());
  hold("requests", 1);
  grant.number = next_++;
  open_.emplace(grant.number, std::move(open));
  return grant;
}

void Budgets::settle(std::uint64_t number, const std::optional<TokenUsage>& used, std::uint64_t bytes,
                     std::int64_t boot_ms, UnixMs now) {
  const std::scoped_lock lock(mutex_);
  Open open;
  if (number != 0) {
    const auto found = open_.find(number);
    if (found == open_.end()) return;
    open = std::move(found->second);
    open_.erase(found);
  }
  turn_periods(now);
  const TokenUsage usage = used.value_or(TokenUsage{});
  const std::int64_t tokens = tokens_of(usage);
  if (const auto it = subjects_.find(open.subject); open.of_subject && it != subjects_.end()) {
    Subject& subject = it->second;
    subject.reserved -= open.input + open.output;
    subject.used += tokens;
    if (subject.per_minute > 0 && open.from_bucket > 0) {
      fill(subject, subject.per_minute, boot_ms);
      subject.level = std::min(subject.level + static_cast<double>(open.from_bucket - tokens),
                               static_cast<double>(subject.per_minute));
    }
  }
  use("tokens", open.input + open.output, tokens);
  use("input_tokens", open.input, usage.input_tokens);
  use("output_tokens", open.output, usage.output_tokens);
  use("requests", number == 0 ? 0 : 1, used ? 1 : 0);
  use("bytes", 0, static_cast<std::int64_t>(bytes));
}

std::optional<RateLevel> Budgets::rate(std::string_view subject, const TokenLimits& limits, std::int64_t boot_ms) {
  if (!limits.per_minute) return std::nullopt;
  const std::int64_t limit = *limits.per_minute;
  RateLevel out{.limit = limit, .remaining = limit, .reset_ms = 0};
  const std::scoped_lock lock(mutex_);
  const auto found = subjects_.find(std::string(subject));
  if (found == subjects_.end() || limit <= 0) return out;
  fill(found->second, limit, boot_ms);
  const double level = found->second.level;
  out.remaining = std::max<std::int64_t>(0, static_cast<std::int64_t>(level));
  out.reset_ms = static_cast<std::int64_t>(
      std::ceil((static_cast<double>(limit) - level) * kMinuteMs / static_cast<double>(limit)));
  return out;
}

std::size_t Budgets::open() const {
  const std::scoped_lock lock(mutex_);
  return open_.size();
}

std::int64_t Budgets::reserved(std::string_view subject) const {
  const std::scoped_lock lock(mutex_);
  const auto found = subjects_.find(std::string(subject));
  return found == subjects_.end() ? 0 : found->second.reserved;
}

}  // namespace tb::meter
