#include "blob/url.h"

#include <algorithm>

#include "base/error.h"

namespace tb::blob {
namespace {

constexpr std::int64_t kLeastMarginMs = 1000;
constexpr std::int64_t kFirstWaitMs = 250;
constexpr std::int64_t kMaxWaitMs = 30'000;

}  // namespace

std::int64_t UrlProvider::renewal_margin_ms(std::int64_t life_ms) {
  return std::min(std::max(life_ms / 10, kLeastMarginMs), life_ms / 2);
}

UrlProvider::UrlProvider(DatedUrl url, Renew renew, BootClock clock)
    : renew_(std::move(renew)), clock_(std::move(clock)) {
  put_in_place(std::move(url));
}

UrlProvider::Current UrlProvider::current() const {
  const std::lock_guard lock(mutex_);
  return {url_.url.clone(), generation_};
}

bool UrlProvider::is_due() const {
  const std::lock_guard lock(mutex_);
  return renew_ && renew_at_boot_ms_ && clock_() >= *renew_at_boot_ms_;
}

UrlProvider::Current UrlProvider::for_request() {
  // Whoever finds the issuer being asked does not wait for the answer.
  if (is_due() && renewing_.try_lock()) {
    const std::lock_guard asking(renewing_, std::adopt_lock);
    if (is_due()) {
      try {
        replace(renew_());
      } catch (const Error&) {
        const std::lock_guard lock(mutex_);
        renew_at_boot_ms_ = clock_() + next_wait_ms_;
        next_wait_ms_ = std::min(next_wait_ms_ * 2, kMaxWaitMs);
      }
    }
  }
  return current();
}

bool UrlProvider::renew(std::uint64_t generation) {
  const std::lock_guard one_at_a_time(renewing_);
  {
    const std::lock_guard lock(mutex_);
    if (generation != generation_) return true;
    if (!renew_ || renewals_in_a_row_ >= kMostRenewalsInARow) return false;
    ++renewals_in_a_row_;
  }
  // The issuer may call replace() on the way: a renewed lease brings the URL to everybody who wants it.
  replace(renew_());
  return true;
}

void UrlProvider::served(std::uint64_t generation) {
  const std::lock_guard lock(mutex_);
  if (generation == generation_) renewals_in_a_row_ = 0;
}

void UrlProvider::replace(DatedUrl url) {
  const std::lock_guard lock(mutex_);
  ++generation_;
  put_in_place(std::move(url));
}

void UrlProvider::put_in_place(DatedUrl url) {
  url_ = std::move(url);
  next_wait_ms_ = kFirstWaitMs;
  renew_at_boot_ms_.reset();
  if (!url_.expires_boot_ms) return;
  const std::int64_t now = clock_();
  const std::int64_t life_ms = *url_.expires_boot_ms - now;
  // A URL that comes with no life in it says nothing about the next one: the store decides, not a loop of renewals.
  if (life_ms > 0) renew_at_boot_ms_ = now + std::max(life_ms - renewal_margin_ms(life_ms), kFirstWaitMs);
}

}  // namespace tb::blob
