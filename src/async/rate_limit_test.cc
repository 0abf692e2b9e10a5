#include "async/rate_limit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/error.h"

namespace tb::async {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

/// A clock that only sleeping moves.
struct Simulated {
  nanoseconds now = 0ns;
  std::vector<nanoseconds> sleeps;
  RateLimit::Time time() {
    return {[this] { return now; },
            [this](const std::stop_token& stop, nanoseconds for_ns) {
              sleeps.push_back(for_ns);
              now += for_ns;
              return !stop.stop_requested();
            }};
  }
};

TEST(RateLimit, ManyTakesKeepTheRate) {
  Simulated world;
  RateLimit limit(1'000'000, 10'000, world.time());
  for (int i = 0; i < 1000; ++i) limit.take(16'384);
  // 16.384 MB at 1 MB/s, less the burst of 10 ms.
  EXPECT_NEAR(std::chrono::duration<double>(world.now).count(), 16.374, 1e-3);
}

TEST(RateLimit, BurstPassesAtOnceAndIsEarnedAgainByRest) {
  Simulated world;
  RateLimit limit(1000, 500, world.time());
  limit.take(500);
  EXPECT_TRUE(world.sleeps.empty());
  limit.take(100);
  ASSERT_EQ(world.sleeps.size(), 1U);
  EXPECT_EQ(world.sleeps[0], 100ms);
  world.now += 10s;
  limit.take(500);
  EXPECT_EQ(world.sleeps.size(), 1U) << "a rested bucket gives its burst at once";
  limit.take(500);
  EXPECT_EQ(world.sleeps.size(), 2U) << "and not more than one, however long it rested";
  EXPECT_EQ(world.sleeps[1], 500ms);
}

TEST(RateLimit, TakeLargerThanTheBurstWaitsForItsWhole) {
  Simulated world;
  RateLimit limit(1000, 10, world.time());
  limit.take(60'010);
  ASSERT_EQ(world.sleeps.size(), 1U);
  EXPECT_EQ(world.sleeps[0], 60s);
}

TEST(RateLimit, TakersWaitInTheOrderInWhichTheyCome) {
  // Sleepers do not move this clock, as threads that sleep side by side do not.
  std::vector<nanoseconds> sleeps;
  RateLimit limit(1000, 0,
                  {[] { return 5s; },
                   [&](const std::stop_token&, nanoseconds time) {
                     sleeps.push_back(time);
                     return true;
                   }});
  limit.take(3000);
  limit.take(1);
  limit.take(1000);
  EXPECT_EQ(sleeps, (std::vector<nanoseconds>{3s, 3001ms, 4001ms}));
}

TEST(RateLimit, StopEndsTheWait) {
  Simulated world;
  RateLimit limit(1000, 0, world.time());
  std::stop_source stop;
  limit.take(1000, stop.get_token());
  stop.request_stop();
  try {
    limit.take(1, stop.get_token());
    FAIL() << "a stopped take has returned";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "cancelled");
  }
}

TEST(RateLimit, StopWakesARealSleeper) {
  RateLimit limit(1);
  std::stop_source stop;
  std::atomic<bool> cancelled = false;
  std::thread sleeper([&] {
    try {
      limit.take(std::uint64_t{1} << 40, stop.get_token());
    } catch (const Error& error) {
      cancelled = error.reason == "cancelled";
    }
  });
  stop.request_stop();
  sleeper.join();
  EXPECT_TRUE(cancelled);
}

TEST(RateLimit, AbsurdSizesDoNotOverflow) {
  Simulated world;
  RateLimit limit(1, ~std::uint64_t{0}, world.time());
  limit.take(~std::uint64_t{0});
  limit.take(~std::uint64_t{0});
  EXPECT_EQ(world.sleeps.size(), 1U);
  RateLimit none(0, 0, world.time());
  none.take(1);
  EXPECT_EQ(world.sleeps.back(), 1s) << "no rate is the slowest, not none";
}

TEST(RateLimit, ThreadsTogetherKeepTheRate) {
  std::atomic<std::int64_t> longest = 0;
  RateLimit limit(1'000'000, 0,
                  {[] { return 0ns; },
                   [&](const std::stop_token&, nanoseconds time) {
                     for (std::int64_t seen = longest; seen < time.count();) {
                       if (longest.compare_exchange_weak(seen, time.count())) break;
                     }
                     return true;
                   }});
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) limit.take(1000);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(longest, nanoseconds(8s).count());
}

}  // namespace
}  // namespace tb::async
