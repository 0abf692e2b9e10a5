// The URL of a blob, which expires and is renewed while a download runs.
//
// All workers of a download share one UrlProvider. Before each request a worker takes for_request(): when little of the
// URL's life is left, one worker asks the issuer for the next URL and the others go on with the one they have. Where
// the end is not known (an old control plane), or comes before its time, a request is answered 401 or 403: the worker
// reports the generation that it used, the first report of a generation renews, the others find that done. Several
// refusals in a row without one good answer between them end the attempt: the store refuses us, not the signature.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/secret.h"

namespace tb::blob {

/// A signed URL and when its signature ends.
struct DatedUrl {
  DatedUrl() = default;
  DatedUrl(SecretUrl url_in, std::optional<std::int64_t> end_boot_ms = std::nullopt)  // a plain URL is one without end
      : url(std::move(url_in)), expires_boot_ms(end_boot_ms) {}

  SecretUrl url;
  /// Boot clock of this machine: when the URL was asked for + its life by the issuer's own clock, so that a difference
  /// of the two clocks does not matter. nullopt: not known.
  std::optional<std::int64_t> expires_boot_ms;
};

class UrlProvider {
 public:
  /// Asks the issuer for a fresh URL; throws Error if it cannot be had. Called by one thread at a time; may call
  /// current(), served() and replace() of this object, not renew() or for_request().
  using Renew = std::function<DatedUrl()>;
  /// Milliseconds of the boot clock.
  using BootClock = std::function<std::int64_t()>;
  struct Current {
    SecretUrl url;
    std::uint64_t generation;
  };
  static constexpr int kMostRenewalsInARow = 3;

  /// A URL is renewed when less than a tenth of its life is left, but at least a second before its end, which is what
  /// name, connection, TLS and request may take before a distant store looks at the signature; and never before half of
  /// its life has passed, so that a very short one does not mean a renewal for each request. 1 h: 6 min before the end;
  /// 5 s: 1 s before it.
  static std::int64_t renewal_margin_ms(std::int64_t life_ms);

  /// Without `renew` the URL is fixed: renew() always says false, for_request() never asks.
  explicit UrlProvider(DatedUrl url, Renew renew = nullptr, BootClock clock = boot_ms_now);

  Current current() const;
  /// The URL for a request that starts now; renews it first if it is near its end and nobody else does so already. A
  /// renewal that fails is no error here, the URL that we have may still serve: the issuer is asked again after 250 ms,
  /// 500 ms and so on to 30 s, and the store decides.
  Current for_request();
  /// The URL of `generation` was refused. True if another one is there to be tried; throws what Renew throws.
  bool renew(std::uint64_t generation);
  /// A request with this generation was served: the count of renewals in a row starts anew.
  void served(std::uint64_t generation);
  /// Puts a URL in place that came from elsewhere (a lease renewal brings one).
  void replace(DatedUrl url);

 private:
  bool is_due() const;
  void put_in_place(DatedUrl url);

  std::mutex renewing_;  ///< held while the issuer is asked; before mutex_
  mutable std::mutex mutex_;
  DatedUrl url_;
  Renew renew_;
  BootClock clock_;
  std::uint64_t generation_ = 0;
  int renewals_in_a_row_ = 0;
  std::optional<std::int64_t> renew_at_boot_ms_;  ///< of for_request(); nullopt: never
  std::int64_t next_wait_ms_ = 0;
};

}  // namespace tb::blob
