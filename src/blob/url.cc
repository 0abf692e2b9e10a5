#include "blob/url.h"

namespace tb::blob {

UrlProvider::UrlProvider(SecretUrl url, Renew renew) : url_(std::move(url)), renew_(std::move(renew)) {}

UrlProvider::Current UrlProvider::current() const {
  const std::lock_guard lock(mutex_);
  return {url_.clone(), generation_};
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

void UrlProvider::replace(SecretUrl url) {
  const std::lock_guard lock(mutex_);
  url_ = std::move(url);
  ++generation_;
}

}  // namespace tb::blob
