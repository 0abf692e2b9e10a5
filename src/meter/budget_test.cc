#include "meter/budget.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

namespace tb::meter {
namespace {

using Why = TokenRefusal::Why;
constexpr UnixMs kNow = 1'795'651'200'000;  // 2026-11-26T00:00:00Z

TokenWant want(std::int64_t input, std::int64_t output, TokenLimits limits = {}, std::int64_t sequences = 1) {
  return {.subject = "k", .limits = limits, .input = input, .output_each = output, .sequences = sequences};
}
TokenUsage used(std::int64_t input, std::int64_t output) {
  return {.input_tokens = input, .output_tokens = output};
}
Budgets::Quotas quota(const std::string& dimension, std::int64_t limit,
                      api::Quota::Period period = api::Quota::Period::kTotal) {
  return {{dimension, api::Quota{limit, period}}};
}

TEST(Budgets, LetsEverythingPassWithoutLimits) {
  Budgets budgets;
  const auto grant = budgets.reserve(want(1000, 1 << 20, {}, 16384), 0, kNow);
  ASSERT_TRUE(grant);
  EXPECT_FALSE(grant->limited);
  EXPECT_FALSE(grant->lowered);
}

TEST(Budgets, TakesTheWorstCaseAndGivesBackWhatWasNotUsed) {
  Budgets budgets;
  const TokenLimits limits{.total = 1000};
  const auto first = budgets.reserve(want(100, 200, limits, 4), 0, kNow);
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->limited);
  EXPECT_EQ(budgets.reserved("k"), 900);
  EXPECT_EQ(budgets.reserve(want(100, 1, limits), 0, kNow).error().why, Why::kBudget);
  budgets.settle(first->number, used(10, 20), 0, 0, kNow);
  EXPECT_EQ(budgets.reserved("k"), 0);
  const auto second = budgets.reserve(want(100, 870, limits), 0, kNow);
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->lowered);
  EXPECT_FALSE(budgets.reserve(want(0, 1, limits), 0, kNow));
}

TEST(Budgets, LowersAnAnswerToWhatIsLeft) {
  Budgets budgets;
  const auto grant = budgets.reserve(want(100, 5000, {.total = 1000}, 4), 0, kNow);
  ASSERT_TRUE(grant);
  EXPECT_TRUE(grant->lowered);
  EXPECT_EQ(grant->output_each, 225);
  TokenWant fixed = want(100, 5000, {.total = 1000});
  fixed.subject = "other";
  fixed.can_be_lowered = false;
  EXPECT_EQ(budgets.reserve(fixed, 0, kNow).error().why, Why::kBudget);
}

TEST(Budgets, RefusesWhereNothingIsLeftForTheInputAlone) {
  Budgets budgets;
  EXPECT_EQ(budgets.reserve(want(1001, 0, {.total = 1000}), 0, kNow).error().why, Why::kBudget);
  EXPECT_TRUE(budgets.reserve(want(1000, 0, {.total = 1000}), 0, kNow));
}

TEST(Budgets, GiveBackAllOfARequestThatCostNothing) {
  Budgets budgets;
  budgets.set_quotas(quota("requests", 1), {}, kNow);
  const auto grant = budgets.reserve(want(100, 200, {.total = 300}), 0, kNow);
  ASSERT_TRUE(grant);
  EXPECT_EQ(budgets.reserve(want(1, 1), 0, kNow).error().why, Why::kQuota);
  budgets.settle(grant->number, std::nullopt, 0, 0, kNow);
  EXPECT_TRUE(budgets.reserve(want(100, 200, {.total = 300}), 0, kNow));
}

TEST(Budgets, SettleOnce) {
  Budgets budgets;
  const TokenLimits limits{.total = 1000};
  const auto grant = budgets.reserve(want(100, 100, limits), 0, kNow);
  budgets.settle(grant->number, used(50, 50), 0, 0, kNow);
  budgets.settle(grant->number, used(50, 50), 0, 0, kNow);
  budgets.settle(4711, used(50, 50), 0, 0, kNow);
  EXPECT_TRUE(budgets.reserve(want(900, 0, limits), 0, kNow));
  EXPECT_EQ(budgets.open(), 1U);
}

TEST(Budgets, RememberWhatWasUsedBeforeTheStart) {
  Budgets budgets;
  budgets.restore({.by_subject = {{"k", 990}}}, kNow);
  EXPECT_FALSE(budgets.reserve(want(11, 0, {.total = 1000}), 0, kNow));
  EXPECT_TRUE(budgets.reserve(want(10, 0, {.total = 1000}), 0, kNow));
}

TEST(TokensAMinute, FillEvenly) {
  Budgets budgets;
  const TokenLimits limits{.per_minute = 600};
  const auto grant = budgets.reserve(want(300, 300, limits), 1'000'000, kNow);
  ASSERT_TRUE(grant);
  EXPECT_FALSE(grant->limited);
  const auto refused = budgets.reserve(want(100, 0, limits), 1'000'000, kNow);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().why, Why::kRate);
  EXPECT_EQ(refused.error().retry_after_ms, 10'000);
  EXPECT_FALSE(budgets.reserve(want(100, 0, limits), 1'009'000, kNow));
  EXPECT_TRUE(budgets.reserve(want(100, 0, limits), 1'010'000, kNow));
}

TEST(TokensAMinute, ComeBackWhenLessWasUsedAndOweWhenMoreWas) {
  Budgets budgets;
  const TokenLimits limits{.per_minute = 600};
  auto grant = budgets.reserve(want(300, 300, limits), 1'000'000, kNow);
  budgets.settle(grant->number, used(10, 10), 0, 1'000'000, kNow);
  EXPECT_EQ(budgets.rate("k", limits, 1'000'000)->remaining, 580);
  // More than the bucket holds: it waits for a full one, and owes the rest.
  EXPECT_FALSE(budgets.reserve(want(300, 3000, limits), 1'001'000, kNow));
  grant = budgets.reserve(want(300, 3000, limits), 1'002'000, kNow);
  ASSERT_TRUE(grant);
  budgets.settle(grant->number, used(300, 900), 0, 1'002'000, kNow);
  const auto level = budgets.rate("k", limits, 1'002'000);
  EXPECT_EQ(level->limit, 600);
  EXPECT_EQ(level->remaining, 0);
  EXPECT_EQ(level->reset_ms, 120'000);
  EXPECT_FALSE(budgets.rate("k", {}, 0));
}

TEST(TokensAMinute, TakeANewLimitAtOnce) {
  Budgets budgets;
  EXPECT_TRUE(budgets.reserve(want(600, 0, {.per_minute = 600}), 1'000'000, kNow));
  EXPECT_FALSE(budgets.reserve(want(100, 0, {.per_minute = 600}), 1'000'000, kNow));
  EXPECT_TRUE(budgets.reserve(want(100, 0, {.per_minute = 700}), 1'000'000, kNow));
  EXPECT_FALSE(budgets.reserve(want(1, 0, {.per_minute = 700}), 1'000'000, kNow));
}

TEST(ContractQuotas, HoldForAllKeysTogether) {
  Budgets budgets;
  budgets.set_quotas(quota("tokens", 1000), {{"tokens", 600}}, kNow);
  const auto grant = budgets.reserve(want(100, 200), 0, kNow);
  ASSERT_TRUE(grant);
  TokenWant other = want(100, 5);
  other.subject = "other";
  EXPECT_EQ(budgets.reserve(other, 0, kNow).error().why, Why::kQuota);
  budgets.settle(grant->number, used(50, 50), 0, 0, kNow);
  EXPECT_TRUE(budgets.reserve(other, 0, kNow));
}

TEST(ContractQuotas, CountEveryDimension) {
  const auto left_after = [](const std::string& dimension, std::int64_t limit) {
    Budgets budgets;
    budgets.set_quotas(quota(dimension, limit), {}, kNow);
    const auto grant = budgets.reserve(want(10, 10), 0, kNow);
    if (!grant) return false;
    budgets.settle(grant->number, used(10, 10), 500, 0, kNow);
    return budgets.reserve(want(10, 10), 0, kNow).has_value();
  };
  for (const auto& [dimension, one, two] :
       std::vector<std::tuple<std::string, std::int64_t, std::int64_t>>{{"requests", 1, 2},
                                                                        {"input_tokens", 19, 20},
                                                                        {"output_tokens", 10, 20},
                                                                        {"tokens", 30, 40},
                                                                        {"bytes", 500, 501}}) {
    EXPECT_FALSE(left_after(dimension, one)) << dimension;
    EXPECT_TRUE(left_after(dimension, two)) << dimension;
  }
}

TEST(ContractQuotas, BeginAnewWithTheirPeriod) {
  Budgets budgets;
  budgets.set_quotas(quota("tokens", 100, api::Quota::Period::kDay), {{"tokens", 100}}, kNow);
  EXPECT_FALSE(budgets.reserve(want(1, 1), 0, kNow + 1000));
  EXPECT_TRUE(budgets.reserve(want(50, 50), 0, kNow + api::kDayMs));
  // A clock that goes back opens nothing.
  EXPECT_FALSE(budgets.reserve(want(1, 1), 0, kNow));
}

TEST(ContractQuotas, KeepWhatIsReservedWhenTheyChange) {
  Budgets budgets;
  budgets.set_quotas(quota("tokens", 1000), {}, kNow);
  const auto grant = budgets.reserve(want(400, 400), 0, kNow);
  budgets.set_quotas(quota("tokens", 900), {}, kNow);
  EXPECT_FALSE(budgets.reserve(want(101, 0), 0, kNow));
  EXPECT_TRUE(budgets.reserve(want(100, 0), 0, kNow));
  budgets.settle(grant->number, used(400, 400), 0, 0, kNow);
  budgets.set_quotas(quota("tokens", 900), {{"tokens", 10}}, kNow);
  EXPECT_FALSE(budgets.reserve(want(1, 0), 0, kNow));
}

TEST(Budgets, WithoutLimitsNothingIsReservedAndStillCounted) {
  Budgets budgets;
  EXPECT_TRUE(budgets.is_unlimited({}));
  EXPECT_FALSE(budgets.is_unlimited({.per_minute = 5}));
  EXPECT_FALSE(budgets.is_unlimited({.total = 5}));
  const TokenGrant grant = Budgets::grant_of(want(1000, 1 << 20, {}, 4));
  EXPECT_EQ(grant.number, 0U);
  EXPECT_EQ(grant.output(), 4 << 20);
  EXPECT_FALSE(grant.limited);
  // Quotas that come while it is under way count what it cost.
  budgets.set_quotas(quota("tokens", 100), {}, kNow);
  EXPECT_FALSE(budgets.is_unlimited({}));
  budgets.settle(grant.number, used(30, 60), 0, 0, kNow);
  EXPECT_FALSE(budgets.reserve({.subject = "k", .input = 11, .can_be_lowered = false}, 0, kNow));
  EXPECT_TRUE(budgets.reserve({.subject = "k", .input = 10, .can_be_lowered = false}, 0, kNow));
}

TEST(Budgets, AKeyThatGetsALimitMeanwhileIsNotGivenWhatItNeverHeld) {
  Budgets budgets;
  budgets.set_quotas(quota("requests", 100), {}, kNow);
  const auto before = budgets.reserve(want(500, 500), 0, kNow);
  ASSERT_TRUE(before);
  const TokenLimits limits{.total = 100};
  ASSERT_TRUE(budgets.reserve(want(40, 10, limits), 0, kNow));
  budgets.settle(before->number, used(1, 1), 0, 0, kNow);
  EXPECT_EQ(budgets.reserved("k"), 50);
}

TEST(Budgets, NeverOvershootWithManyThreads) {
  Budgets budgets;
  constexpr std::int64_t kBudget = 100'000;
  const TokenLimits limits{.total = kBudget};
  std::atomic<std::int64_t> spent = 0;
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::minstd_rand engine(seed + 1);
      const auto below = [&](std::int64_t end) {
        return std::uniform_int_distribution<std::int64_t>(0, end - 1)(engine);
      };
      for (int i = 0; i < 2000; ++i) {
        const std::int64_t input = below(50), each = below(100);
        const auto grant = budgets.reserve(want(input, each, limits, 1 + below(3)), 0, kNow);
        if (!grant) continue;
        std::optional<TokenUsage> really;
        if (below(4) != 0) really = used(below(input + 1), below(grant->output() + 1));
        if (really) spent += really->input_tokens + really->output_tokens;
        budgets.settle(grant->number, really, 0, 0, kNow);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_LE(spent.load(), kBudget);
  EXPECT_EQ(budgets.open(), 0U);
  EXPECT_EQ(budgets.reserved("k"), 0);
  EXPECT_TRUE(budgets.reserve(want(kBudget - spent, 0, limits), 0, kNow));
  EXPECT_FALSE(budgets.reserve(want(1, 0, limits), 0, kNow));
}

TEST(Budgets, BoundTheSubjectsTheyRemember) {
  Budgets budgets;
  const auto reserve = [&](std::size_t number, std::int64_t boot_ms) {
    TokenWant one = want(1, 0, {.per_minute = 60});
    one.subject = std::to_string(number);
    return budgets.reserve(one, boot_ms, kNow);
  };
  for (std::size_t i = 0; i < Budgets::kMaxSubjects; ++i) ASSERT_TRUE(reserve(i, 1'000));
  EXPECT_EQ(reserve(Budgets::kMaxSubjects, 1'000).error().why, Why::kRate);
  // None has used tokens of a budget, but all still have their request under way.
  EXPECT_FALSE(reserve(Budgets::kMaxSubjects, 90'000));
  for (std::uint64_t number = 1; number <= 10; ++number) budgets.settle(number, std::nullopt, 0, 90'000, kNow);
  EXPECT_TRUE(reserve(Budgets::kMaxSubjects, 92'000));
}

}  // namespace
}  // namespace tb::meter
