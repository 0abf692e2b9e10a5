#include "hydrate/progress.h"

#include <gtest/gtest.h>

namespace tb::hydrate {
namespace {

TEST(Meter, SaysNothingItDoesNotKnow) {
  std::int64_t now = 1000;
  Meter meter([&] { return now; });
  EXPECT_EQ(meter.snapshot().total, 0U);
  meter.start(100);
  EXPECT_EQ(meter.snapshot().eta_seconds, std::nullopt);
  now += 5000;
  EXPECT_EQ(meter.snapshot().bytes_per_second, 0);
}

TEST(Meter, RateAndTimeLeft) {
  std::int64_t now = 0;
  Meter meter([&] { return now; });
  meter.start(10'000);
  for (int i = 0; i < 4; ++i) {
    now += 1000;
    meter.add(1000, i == 0);
  }
  const Progress p = meter.snapshot();
  EXPECT_EQ(p.bytes, 4000U);
  EXPECT_EQ(p.from_cache_bytes, 1000U);
  EXPECT_DOUBLE_EQ(p.bytes_per_second, 1000);
  ASSERT_TRUE(p.eta_seconds);
  EXPECT_DOUBLE_EQ(*p.eta_seconds, 6);
}

TEST(Meter, RateIsOfTheLastSecondsOnly) {
  std::int64_t now = 0;
  Meter meter([&] { return now; });
  meter.start(1'000'000);
  meter.add(500'000, false);
  for (int i = 0; i < 60; ++i) {
    now += 1000;
    meter.add(10, false);
  }
  EXPECT_LT(meter.snapshot().bytes_per_second, 20);
}

}  // namespace
}  // namespace tb::hydrate
