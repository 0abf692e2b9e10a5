// Limits by a clock that the test moves.
#include "sentinel/proxy/request_limits.h"

#include <gtest/gtest.h>

#include <random>

namespace tb::sentinel::proxy {
namespace {

using Verdict = RequestLimits::Verdict;
constexpr std::int64_t kStartMs = 1'000'000;

TEST(RequestLimits, AMinutesWorthMayComeAtOnceThenTheEvenRate) {
  RequestLimits limits;
  const KeyLimits sixty{.requests_per_minute = 60};
  for (int i = 0; i < 60; ++i) {
    const auto answer = limits.admit("a", sixty, kStartMs);
    ASSERT_EQ(answer.verdict, Verdict::kAdmitted) << i;
    EXPECT_EQ(answer.remaining_requests, 59 - i);
    EXPECT_EQ(answer.reset_ms, (i + 1) * 1000);
    limits.leave("a");
  }
  const auto refused = limits.admit("a", sixty, kStartMs);
  EXPECT_EQ(refused.verdict, Verdict::kTooOften);
  EXPECT_EQ(refused.retry_after_ms, 1000);
  EXPECT_EQ(refused.remaining_requests, 0);
  EXPECT_EQ(limits.admit("a", sixty, kStartMs + 999).verdict, Verdict::kTooOften);
  EXPECT_EQ(limits.admit("a", sixty, kStartMs + 1000).verdict, Verdict::kAdmitted);
  EXPECT_EQ(limits.admit("a", sixty, kStartMs + 1000).verdict, Verdict::kTooOften) << "a refusal costs nothing";
  EXPECT_EQ(limits.admit("b", sixty, kStartMs + 1000).verdict, Verdict::kAdmitted) << "others are not concerned";
}

TEST(RequestLimits, WhatIsAdmittedInAnyMinuteIsAtMostTwoMinutesWorth) {
  std::mt19937 random(7);
  RequestLimits limits;
  const KeyLimits rule{.requests_per_minute = 100};
  std::vector<std::int64_t> admitted;
  for (std::int64_t now = kStartMs; now < kStartMs + 600'000; now += static_cast<std::int64_t>(random() % 400)) {
    if (limits.admit("a", rule, now).verdict == Verdict::kAdmitted) admitted.push_back(now);
    limits.leave("a");
  }
  EXPECT_LE(admitted.size(), 100U + 1000U) << "a minute's worth, then 100 a minute";
  EXPECT_GE(admitted.size(), 1000U);
  for (std::size_t i = 200; i < admitted.size(); ++i) EXPECT_GE(admitted[i] - admitted[i - 200], 60'000 - 600);
}

TEST(RequestLimits, ConcurrencyIsCountedUntilTheEnd) {
  RequestLimits limits;
  const KeyLimits two{.concurrent_requests = 2};
  EXPECT_EQ(limits.admit("a", two, kStartMs).verdict, Verdict::kAdmitted);
  EXPECT_EQ(limits.admit("a", two, kStartMs).verdict, Verdict::kAdmitted);
  const auto refused = limits.admit("a", two, kStartMs + 3'600'000);
  EXPECT_EQ(refused.verdict, Verdict::kTooMany);
  EXPECT_GT(refused.retry_after_ms, 0);
  limits.leave("a");
  EXPECT_EQ(limits.admit("a", two, kStartMs).verdict, Verdict::kAdmitted);
  limits.leave("nobody");
}

TEST(RequestLimits, OneThatIsRefusedForItsNumberIsNotCountedByTheMinute) {
  RequestLimits limits;
  const KeyLimits rule{.requests_per_minute = 2, .concurrent_requests = 1};
  EXPECT_EQ(limits.admit("a", rule, kStartMs).verdict, Verdict::kAdmitted);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(limits.admit("a", rule, kStartMs).verdict, Verdict::kTooMany);
  limits.leave("a");
  EXPECT_EQ(limits.admit("a", rule, kStartMs).verdict, Verdict::kAdmitted);
}

TEST(RequestLimits, MemoryIsBoundedAndForgetsOnlyThoseWhoLoseNothing) {
  RequestLimits limits(100);
  const KeyLimits one{.requests_per_minute = 1};
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(limits.admit(std::to_string(i), one, kStartMs).verdict, Verdict::kAdmitted);
    if (i % 2 == 0) limits.leave(std::to_string(i));
  }
  EXPECT_EQ(limits.admit("new", one, kStartMs).verdict, Verdict::kTooMany);
  EXPECT_EQ(limits.subjects(), 100U);
  EXPECT_EQ(limits.admit("new", one, kStartMs + 60'000).verdict, Verdict::kAdmitted) << "half have their minute back";
  EXPECT_EQ(limits.subjects(), 51U) << "the other half is still under way";
}

TEST(RequestLimits, WithoutLimitsNothingIsKept) {
  RequestLimits limits;
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(limits.admit("a", {}, kStartMs).verdict, Verdict::kAdmitted);
  EXPECT_EQ(limits.subjects(), 0U);
}

TEST(RequestLimits, TheLargestLimitOverflowsNothing) {
  RequestLimits limits;
  const KeyLimits most{.requests_per_minute = kMaxLimit, .concurrent_requests = kMaxLimit};
  const auto answer = limits.admit("a", most, std::int64_t{100} * 366 * 86'400'000);
  EXPECT_EQ(answer.verdict, Verdict::kAdmitted);
  EXPECT_GT(answer.remaining_requests, 1'000'000'000);
}

TEST(RequestLimits, TimesAsOpenAiWritesThem) {
  EXPECT_EQ(reset_text(0), "0ms");
  EXPECT_EQ(reset_text(120), "120ms");
  EXPECT_EQ(reset_text(1000), "1s");
  EXPECT_EQ(reset_text(59'001), "1m0s");
  EXPECT_EQ(reset_text(360'000), "6m0s");
}

}  // namespace
}  // namespace tb::sentinel::proxy
