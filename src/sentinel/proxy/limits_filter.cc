#include "sentinel/proxy/limits_filter.h"

#include "base/clock.h"
#include "sentinel/proxy/request_limits.h"

namespace tb::sentinel::proxy {
namespace {

/// What all visits share. On the proxy's loop only.
struct Held {
  explicit Held(obs::Metrics& metrics)
      : too_often(counter(metrics, "requests_per_minute")), too_many(counter(metrics, "concurrent_requests")) {}
  static obs::Counter& counter(obs::Metrics& metrics, const char* limit) {
    return metrics.counter("trustbridge_sentinel_rate_limited_total", "requests refused by a limit of their key",
                           {{"limit", limit}});
  }
  RequestLimits limits;
  obs::Counter& too_often;
  obs::Counter& too_many;
};

class LimitsVisit final : public Visit {
 public:
  explicit LimitsVisit(Held& held) : held_(held) {}

  std::optional<Refusal> on_request(Exchange& exchange) override {
    const KeyLimits& limits = exchange.limits;
    if (!limits.requests_per_minute && !limits.concurrent_requests) return std::nullopt;
    const RequestLimits::Answer answer = held_.limits.admit(exchange.subject, limits, boot_ms_now());
    if (limits.requests_per_minute) {
      const auto tell = [&](const char* name, std::string value) {
        exchange.answer_fields.push_back({name, std::move(value)});
      };
      tell("x-ratelimit-limit-requests", std::to_string(*limits.requests_per_minute));
      tell("x-ratelimit-remaining-requests", std::to_string(answer.remaining_requests));
      tell("x-ratelimit-reset-requests", reset_text(answer.reset_ms));
    }
    if (answer.verdict == RequestLimits::Verdict::kAdmitted) {
      subject_ = exchange.subject;
      return std::nullopt;
    }
    const int seconds = static_cast<int>((answer.retry_after_ms + 999) / 1000);
    if (answer.verdict == RequestLimits::Verdict::kTooOften) {
      held_.too_often.add();
      return Refusal{429, "rate_limit_exceeded", "this key has used up its requests per minute", seconds};
    }
    held_.too_many.add();
    return Refusal{429, "rate_limit_exceeded", "this key has as many requests under way as it may", seconds};
  }

  void on_end(Exchange&) override {
    if (!subject_.empty()) held_.limits.leave(subject_);
  }

 private:
  Held& held_;
  std::string subject_;  ///< counted as under way
};

class LimitsFilter final : public Filter {
 public:
  explicit LimitsFilter(obs::Metrics& metrics) : held_(metrics) {}
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<LimitsVisit>(held_); }

 private:
  Held held_;
};

}  // namespace

std::unique_ptr<Filter> limits_filter(obs::Metrics& metrics) {
  return std::make_unique<LimitsFilter>(metrics);
}

}  // namespace tb::sentinel::proxy
