#include "async/backoff.h"

#include <gtest/gtest.h>

namespace tb::async {
namespace {

const UnitRandom kMiddle = [] { return 0.5; };

// spec: wire 1.1 client rules: 2, 4, 8 s, honouring Retry-After
TEST(Backoff, WaitsTwoFourEightSecondsAndThenGivesUp) {
  const BackoffPolicy policy;
  EXPECT_EQ(next_delay(policy, 1, kMiddle), 2000);
  EXPECT_EQ(next_delay(policy, 2, kMiddle), 4000);
  EXPECT_EQ(next_delay(policy, 3, kMiddle), 8000);
  EXPECT_EQ(next_delay(policy, 4, kMiddle), std::nullopt);
  EXPECT_EQ(next_delay(policy, 400, kMiddle), std::nullopt);
}

TEST(Backoff, JitterSpreadsByItsShareBothWays) {
  const BackoffPolicy policy{.jitter = 0.25};
  EXPECT_EQ(next_delay(policy, 1, [] { return 0.0; }), 1500);
  EXPECT_EQ(next_delay(policy, 1, [] { return 0.999999999; }), 2499);
}

TEST(Backoff, NeverExceedsItsOwnBoundEvenAfterManyAttempts) {
  const BackoffPolicy policy{.max_ms = 10'000, .attempts = 100'000};
  EXPECT_EQ(next_delay(policy, 4, [] { return 0.999999; }), 10'000);
  EXPECT_EQ(next_delay(policy, 99'999, kMiddle), 10'000);
}

TEST(Backoff, RetryAfterIsAFloorAndIsCut) {
  const BackoffPolicy policy;
  EXPECT_EQ(next_delay(policy, 1, kMiddle, 30'000), 30'000);
  EXPECT_EQ(next_delay(policy, 3, kMiddle, 1), 8000);
  EXPECT_EQ(next_delay(policy, 1, kMiddle, 999'999'999), policy.max_retry_after_ms);
  EXPECT_EQ(next_delay(policy, 1, kMiddle, -5), 2000);
  EXPECT_EQ(next_delay(policy, 4, kMiddle, 30'000), std::nullopt);
}

TEST(Backoff, UnitRandomStaysInItsRangeAndVaries) {
  const double first = unit_random();
  bool varies = false;
  for (int i = 0; i < 100; ++i) {
    const double v = unit_random();
    EXPECT_GE(v, 0.0);
    EXPECT_LT(v, 1.0);
    varies = varies || v != first;
  }
  EXPECT_TRUE(varies);
}

}  // namespace
}  // namespace tb::async
