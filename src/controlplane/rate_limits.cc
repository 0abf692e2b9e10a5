#include "controlplane/rate_limits.h"

#include <algorithm>
#include <vector>

#include "base/crypto.h"

namespace tb::controlplane {
namespace {

/// What the caller shows, as a hash: no token lies in this table.
std::string caller_key(const http::Request& request) {
  std::string shown;
  if (const auto token = request.bearer_token(); !token.empty()) {
    shown = "t" + std::string(token);
  } else if (!request.client_cert_sha256.empty()) {
    shown = "c" + request.client_cert_sha256;
  } else {
    shown = "a" + request.peer_address;
  }
  const Digest digest = sha256(shown);
  wipe(shown.data(), shown.size());
  return std::string(as_text(ByteView(digest).first(16)));
}

}  // namespace

double RateLimits::refilled(const Bucket& bucket, std::int64_t boot_ms) const {
  const double earned = static_cast<double>(boot_ms - bucket.at_ms) * static_cast<double>(limit_.per_second) / 1000;
  return std::min(static_cast<double>(limit_.burst), bucket.tokens + std::max(0.0, earned));
}

void RateLimits::forget_rested(std::int64_t boot_ms) {
  std::vector<double> fill;
  fill.reserve(buckets_.size());
  for (const auto& [key, bucket] : buckets_) fill.push_back(refilled(bucket, boot_ms));
  const auto middle = fill.begin() + static_cast<std::ptrdiff_t>(fill.size() / 2);
  std::ranges::nth_element(fill, middle);
  const double bound = *middle;
  std::erase_if(buckets_, [&](const auto& entry) { return refilled(entry.second, boot_ms) >= bound; });
}

void RateLimits::take(const http::Request& request, std::int64_t boot_ms) {
  if (limit_.per_second == 0) return;
  std::string key = caller_key(request);
  const std::lock_guard lock(mutex_);
  if (buckets_.size() >= kMaxBuckets && !buckets_.contains(key)) forget_rested(boot_ms);
  const auto [entry, is_new] =
      buckets_.try_emplace(std::move(key), Bucket{.tokens = static_cast<double>(limit_.burst), .at_ms = boot_ms});
  Bucket& bucket = entry->second;
  bucket.tokens = refilled(bucket, boot_ms);
  bucket.at_ms = boot_ms;
  if (bucket.tokens < 1) throw Error("rate_limited", "this caller asks more often than the service allows");
  bucket.tokens -= 1;
}

}  // namespace tb::controlplane
