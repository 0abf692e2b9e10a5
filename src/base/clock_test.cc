#include "base/clock.h"

#include <gtest/gtest.h>

namespace tb {
namespace {

TEST(Clock, ATimeThatNoFourDigitYearHasIsTheNearestOneThatHas) {
  EXPECT_EQ(to_rfc3339(-1, true), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(to_rfc3339(253'402'300'800'000, true), "9999-12-31T23:59:59.999Z");
  EXPECT_EQ(to_rfc3339(1'770'000'000'007, true), "2026-02-02T02:40:00.007Z");
}

TEST(Rfc3339, RoundTrips) {
  for (const auto* text :
       {"1970-01-01T00:00:00Z", "2026-11-22T08:09:05Z", "2028-02-29T23:59:59Z", "9999-12-31T23:59:59Z"})
    EXPECT_EQ(to_rfc3339(from_rfc3339(text).value()), text);
  EXPECT_EQ(to_rfc3339(from_rfc3339("2026-11-22T08:09:05.1619Z").value(), true), "2026-11-22T08:09:05.161Z");
  EXPECT_EQ(to_rfc3339(from_rfc3339("2026-01-01T01:00:00+02:00").value()), "2025-12-31T23:00:00Z");
}

TEST(Rfc3339, Refuses) {
  for (const auto* bad :
       {"", "2026-11-22", "2026-11-22T08:09:05", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "1969-12-31T23:59:59Z",
        "2026-11-22T24:00:00Z", "2026-11-22T08:09:60Z", "2026-11-22T08:09:05.Z", "2026-11-22T08:09:05Zx",
        "2026-11-22 08:09:05Z", "1970-01-01T00:00:00+01:00", "+2026-1-1T0:0:0Z"})
    EXPECT_EQ(from_rfc3339(bad).error().reason, "bad_time") << bad;
}

TEST(Duration, UnitsAndRefusals) {
  EXPECT_EQ(duration_ms("1500ms").value(), 1500);
  EXPECT_EQ(duration_ms("60s").value(), 60'000);
  EXPECT_EQ(duration_ms("60").value(), 60'000);
  EXPECT_EQ(duration_ms("2h").value(), 7'200'000);
  EXPECT_EQ(duration_ms("7d").value(), 604'800'000);
  for (const auto* bad : {"", "s", "-1s", "1y", "1 s", "1.5s", "9223372036854775807d"})
    EXPECT_FALSE(duration_ms(bad).has_value()) << bad;
}

TEST(Clocks, BootTimeGoesForward) {
  const auto a = boot_ms_now();
  EXPECT_GE(boot_ms_now(), a);
  EXPECT_GT(unix_ms_now(), 1'700'000'000'000);
}

}  // namespace
}  // namespace tb
