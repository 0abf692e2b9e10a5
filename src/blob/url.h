// The URL of a blob, which expires and is renewed while a download runs.
//
// All workers of a download share one UrlProvider. A worker whose request was answered 401 or 403 reports the
// generation that it used: the first report of a generation renews, the others find that done. Several renewals in a
// row without one good answer between them end the attempt: the store refuses us, not the signature.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>

#include "base/secret.h"

namespace tb::blob {

class UrlProvider {
 public:
  /// Asks the issuer for a fresh URL; throws Error if it cannot be had. Called by one thread at a time; may call
  /// current(), served() and replace() of this object, not renew().
  using Renew = std::function<SecretUrl()>;
  struct Current {
    SecretUrl url;
    std::uint64_t generation;
  };
  static constexpr int kMostRenewalsInARow = 3;

  /// Without `renew` the URL is fixed and renew() always says false.
  explicit UrlProvider(SecretUrl url, Renew renew = nullptr);

  Current current() const;
  /// The URL of `generation` was refused. True if another one is there to be tried; throws what Renew throws.
  bool renew(std::uint64_t generation);
  /// A request with this generation was served: the count of renewals in a row starts anew.
  void served(std::uint64_t generation);
  /// Puts a URL in place that came from elsewhere (a lease renewal brings one).
  void replace(SecretUrl url);

 private:
  std::mutex renewing_;  ///< held while the issuer is asked; before mutex_
  mutable std::mutex mutex_;
  SecretUrl url_;
  Renew renew_;
  std::uint64_t generation_ = 0;
  int renewals_in_a_row_ = 0;
};

}  // namespace tb::blob
