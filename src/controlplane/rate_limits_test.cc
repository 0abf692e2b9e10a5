#include "controlplane/rate_limits.h"

#include <gtest/gtest.h>

namespace tb::controlplane {
namespace {

http::Request by(const std::string& token, const std::string& address = "192.0.2.1") {
  http::Request request;
  if (!token.empty()) request.headers.set("Authorization", "Bearer " + token);
  request.peer_address = address;
  return request;
}

int passed(RateLimits& limits, const http::Request& request, int asked, std::int64_t boot_ms) {
  int out = 0;
  for (int i = 0; i < asked; ++i) {
    try {
      limits.take(request, boot_ms);
      ++out;
    } catch (const Error& error) {
      EXPECT_EQ(error.reason, "rate_limited");
      EXPECT_EQ(error.http_status(), 429);
      EXPECT_TRUE(error.retryable());
    }
  }
  return out;
}

TEST(RateLimits, LetABurstPassAndThenTheRate) {
  RateLimits limits({.per_second = 10, .burst = 5});
  EXPECT_EQ(passed(limits, by("a"), 20, 1000), 5);
  EXPECT_EQ(passed(limits, by("a"), 20, 1099), 0);
  EXPECT_EQ(passed(limits, by("a"), 20, 1100), 1);
  EXPECT_EQ(passed(limits, by("a"), 20, 1400), 3);
  EXPECT_EQ(passed(limits, by("a"), 20, 1000000), 5);
}

TEST(RateLimits, CountEachCallerByItself) {
  RateLimits limits({.per_second = 1, .burst = 2});
  EXPECT_EQ(passed(limits, by("a"), 5, 0), 2);
  EXPECT_EQ(passed(limits, by("b"), 5, 0), 2);
  EXPECT_EQ(passed(limits, by("", "192.0.2.1"), 5, 0), 2);
  EXPECT_EQ(passed(limits, by("", "192.0.2.2"), 5, 0), 2);
  http::Request certificate = by("");
  certificate.client_cert_sha256 = std::string(64, 'a');
  EXPECT_EQ(passed(limits, certificate, 5, 0), 2);
  EXPECT_EQ(passed(limits, by("a"), 5, 0), 0);
}

TEST(RateLimits, ZeroIsNoLimit) {
  RateLimits limits({.per_second = 0, .burst = 1});
  EXPECT_EQ(passed(limits, by("a"), 1000, 0), 1000);
}

TEST(RateLimits, ForgetTheRestedAndNotTheOneThatAsksTooOften) {
  RateLimits limits({.per_second = 1, .burst = 2});
  EXPECT_EQ(passed(limits, by("greedy"), 3, 0), 2);
  for (std::size_t i = 0; i < RateLimits::kMaxBuckets + 10; ++i) limits.take(by("token-" + std::to_string(i)), 0);
  EXPECT_EQ(passed(limits, by("greedy"), 3, 0), 0);
}

}  // namespace
}  // namespace tb::controlplane
