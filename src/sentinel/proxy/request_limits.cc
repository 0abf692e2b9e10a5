#include "sentinel/proxy/request_limits.h"

#include <fmt/format.h>

#include <algorithm>

namespace tb::sentinel::proxy {
namespace {

constexpr std::int64_t kMinuteNs = 60'000'000'000;
constexpr std::int64_t kMsNs = 1'000'000;
/// When one that ends is not known: requests take seconds.
constexpr std::int64_t kBusyRetryMs = 1000;

std::int64_t ms_rounded_up(std::int64_t ns) {
  return (ns + kMsNs - 1) / kMsNs;
}

}  // namespace

RequestLimits::Use* RequestLimits::use_of(std::string_view subject, std::int64_t now_ns) {
  if (const auto found = subjects_.find(subject); found != subjects_.end()) return &found->second;
  // Whoever has nothing under way and a whole allowance is as one never seen. One sweep a second: it takes a while.
  if (subjects_.size() >= max_subjects_ && (swept_at_ns_ < 0 || now_ns - swept_at_ns_ >= 1000 * kMsNs)) {
    swept_at_ns_ = now_ns;
    std::erase_if(subjects_, [now_ns](const auto& entry) {
      return entry.second.under_way == 0 && entry.second.full_at_ns <= now_ns;
    });
  }
  if (subjects_.size() >= max_subjects_) return nullptr;
  return &subjects_.emplace(subject, Use{}).first->second;
}

RequestLimits::Answer RequestLimits::admit(std::string_view subject, const KeyLimits& limits, std::int64_t now_ms) {
  Answer out;
  if (!limits.requests_per_minute && !limits.concurrent_requests) return out;
  const std::int64_t now_ns = now_ms * kMsNs;
  Use* use = use_of(subject, now_ns);
  if (use == nullptr) return {.verdict = Verdict::kTooMany, .retry_after_ms = kBusyRetryMs};
  const std::int64_t full_at = std::max(use->full_at_ns, now_ns);
  std::int64_t after = full_at;
  if (limits.requests_per_minute) {
    const std::int64_t each = std::max<std::int64_t>(1, kMinuteNs / *limits.requests_per_minute);
    const std::int64_t burst = each * std::min(*limits.requests_per_minute, kMinuteNs);
    const auto tell = [&](std::int64_t until) {
      out.remaining_requests = std::max<std::int64_t>(0, (burst - (until - now_ns)) / each);
      out.reset_ms = ms_rounded_up(until - now_ns);
    };
    after = full_at + each;
    tell(full_at);
    if (after - now_ns > burst) {
      out.verdict = Verdict::kTooOften;
      out.retry_after_ms = ms_rounded_up(after - now_ns - burst);
      return out;
    }
    tell(after);
  }
  if (limits.concurrent_requests && use->under_way >= *limits.concurrent_requests) {
    out.verdict = Verdict::kTooMany;
    out.retry_after_ms = kBusyRetryMs;
    return out;
  }
  use->full_at_ns = after;
  ++use->under_way;
  return out;
}

void RequestLimits::leave(std::string_view subject) {
  const auto found = subjects_.find(subject);
  if (found != subjects_.end() && found->second.under_way > 0) --found->second.under_way;
}

std::string reset_text(std::int64_t ms) {
  if (ms < 1000) return fmt::format("{}ms", ms);
  const std::int64_t seconds = (ms + 999) / 1000;
  if (seconds < 60) return fmt::format("{}s", seconds);
  return fmt::format("{}m{}s", seconds / 60, seconds % 60);
}

}  // namespace tb::sentinel::proxy
