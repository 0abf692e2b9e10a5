// How often one caller may ask: a token bucket for each credential, or for each address where none came. It keeps one
// tenant's loop from taking the service away from the others; it is no defence against a flood of the network.
//
// Each node counts for itself: with n nodes behind a balancer a caller gets up to n times the rate.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "http/message.h"

namespace tb::controlplane {

struct RateLimit {
  std::int64_t per_second = 200;  ///< 0: no limit
  std::int64_t burst = 1000;      ///< at once, after a rest
};

class RateLimits {
 public:
  explicit RateLimits(RateLimit limit) : limit_(limit) {}

  /// Takes one request off the caller's bucket. Throws "rate_limited" (429, with Retry-After) if it is empty. The
  /// caller is the bearer token or client certificate that the request shows, whether valid or not, else its address.
  void take(const http::Request& request, std::int64_t boot_ms = boot_ms_now());

  /// Most buckets that are kept; the fullest are forgotten first, which costs nobody anything.
  static constexpr std::size_t kMaxBuckets = 65536;

 private:
  struct Bucket {
    double tokens = 0;
    std::int64_t at_ms = 0;
  };
  double refilled(const Bucket& bucket, std::int64_t boot_ms) const;
  void forget_rested(std::int64_t boot_ms);

  const RateLimit limit_;
  std::mutex mutex_;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace tb::controlplane
