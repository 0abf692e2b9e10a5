#include "sentinel/proxy/holdback.h"

#include <algorithm>

#include "base/clock.h"

namespace tb::sentinel::proxy {
namespace {

constexpr std::int64_t kMinuteMs = 60'000;
constexpr std::int64_t kBurstMs = 10'000;

class HoldbackVisit final : public Visit {
 public:
  explicit HoldbackVisit(Holdback& holdback) : holdback_(holdback) {}
  std::optional<Refusal> on_request(Exchange&) override { return holdback_.refuse(boot_ms_now()); }
  BodyTransform* response_transform(Exchange&, ResponseHead& head) override {
    if (std::string notice = holdback_.notice(); !notice.empty()) {
      head.fields.push_back({std::string(kNoticeField), std::move(notice)});
    }
    return nullptr;
  }

 private:
  Holdback& holdback_;
};

class HoldbackFilter final : public Filter {
 public:
  explicit HoldbackFilter(Holdback& holdback) : holdback_(holdback) {}
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<HoldbackVisit>(holdback_); }

 private:
  Holdback& holdback_;
};

}  // namespace

std::int64_t SharedRate::burst_ms() const {
  return std::max(kBurstMs, (kMinuteMs + per_minute_ - 1) / per_minute_);
}

bool SharedRate::take(std::int64_t now_ms) {
  // One request costs a share of a minute; the account may be as far ahead as the burst, and no further behind than
  // now. Scaled by the rate, so that every share is whole.
  const std::int64_t now = now_ms * per_minute_;
  const std::int64_t paid = std::max(paid_until_ms_.value_or(now), now);
  if (paid + kMinuteMs > now + burst_ms() * per_minute_) return false;
  paid_until_ms_ = paid + kMinuteMs;
  return true;
}

void Holdback::set(api::Enforcement enforcement) {
  const std::scoped_lock lock(mutex_);
  if (enforcement.grade != api::Grade::kThrottle) {
    rate_.reset();
  } else if (!rate_ || rate_->per_minute() != enforcement.requests_per_minute) {
    rate_.emplace(enforcement.requests_per_minute);
  }
  enforcement_ = std::move(enforcement);
}

api::Enforcement Holdback::get() const {
  const std::scoped_lock lock(mutex_);
  return enforcement_;
}

std::optional<Refusal> Holdback::refuse(std::int64_t now_ms) {
  const std::scoped_lock lock(mutex_);
  if (enforcement_.grade == api::Grade::kDrain) {
    return Refusal{403, "contract_draining", "the contract takes no new requests; those under way may finish"};
  }
  if (rate_ && !rate_->take(now_ms)) {
    return Refusal{429, "contract_throttled", "the contract's rate of requests is held back for everybody"};
  }
  return std::nullopt;
}

std::string Holdback::notice() const {
  const std::scoped_lock lock(mutex_);
  if (enforcement_.grade == api::Grade::kNone) return {};
  return enforcement_.notice.empty() ? std::string(grade_name(enforcement_.grade)) : enforcement_.notice;
}

std::unique_ptr<Filter> holdback_filter(Holdback& holdback) {
  return std::make_unique<HoldbackFilter>(holdback);
}

}  // namespace tb::sentinel::proxy
