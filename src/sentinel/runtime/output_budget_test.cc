// A runtime that prints without an end.
#include "sentinel/runtime/output_budget.h"

#include <gtest/gtest.h>

namespace tb::sentinel::runtime {
namespace {

TEST(OutputBudget, ABurstPassesAndThenTheRate) {
  OutputBudget budget(1000, 100);
  EXPECT_TRUE(budget.take(600, 5));
  EXPECT_TRUE(budget.take(400, 5));
  EXPECT_FALSE(budget.take(1, 5));
  EXPECT_FALSE(budget.take(60, 505)) << "half a second earns 50 bytes";
  EXPECT_TRUE(budget.take(50, 505));
  EXPECT_EQ(budget.take_left_out(), 61U);
  EXPECT_EQ(budget.take_left_out(), 0U);
}

TEST(OutputBudget, OverAnyTimeNoMorePassesThanItSays) {
  OutputBudget budget(1000, 100);
  std::uint64_t passed = 0;
  for (std::int64_t now_ms = 0; now_ms <= 10'000; ++now_ms) {
    for (int i = 0; i < 3; ++i) passed += budget.take(7, now_ms) ? 7 : 0;
  }
  EXPECT_LE(passed, 1000U + 1000U);
  EXPECT_GE(passed, 1000U + 980U) << "and time that earns less than a byte is not lost";
}

TEST(OutputBudget, ARestEarnsNoMoreThanTheBurst) {
  OutputBudget budget(1000, 100);
  EXPECT_TRUE(budget.take(1000, 0));
  EXPECT_FALSE(budget.take(1001, 1'000'000'000));
  EXPECT_TRUE(budget.take(1000, 1'000'000'000));
}

}  // namespace
}  // namespace tb::sentinel::runtime
