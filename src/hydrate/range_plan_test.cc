#include "hydrate/range_plan.h"

#include <gtest/gtest.h>

#include <random>

namespace tb::hydrate {
namespace {

tbenc::Layout layout(std::uint64_t plain, std::uint32_t chunk_bytes) {
  return value_or_throw(tbenc::Layout::from_plaintext(plain, chunk_bytes));
}

TEST(RangePlan, EmptyAssetIsCompleteAtOnce) {
  RangePlan plan(layout(0, 1024), 8192);
  EXPECT_TRUE(plan.complete());
  EXPECT_EQ(plan.next(), std::nullopt);
}

TEST(RangePlan, OneChunkAtLeastHoweverSmallTheRequest) {
  RangePlan plan(layout(5000, 1024), 1);
  EXPECT_EQ(plan.next(), (Range{0, 1, 32, 1044}));
  for (int i = 1; i < 4; ++i) EXPECT_TRUE(plan.next());
  EXPECT_EQ(plan.next(), (Range{4, 1, 32 + 4 * 1044, 904 + 20}));
  EXPECT_EQ(plan.next(), std::nullopt) << "all are in hands";
  EXPECT_FALSE(plan.complete());
}

TEST(RangePlan, WholeRecordsUpToTheRequest) {
  EXPECT_EQ(RangePlan(layout(10 * 1024, 1024), 3 * 1044).chunks_per_range(), 3U);
  EXPECT_EQ(RangePlan(layout(10 * 1024, 1024), 3 * 1044 - 1).chunks_per_range(), 2U);
}

/// Ranges touch, ascend, hold whole records and end where the file ends: for sizes around every border.
TEST(RangePlan, CoversEveryByteOnce) {
  for (const std::uint32_t chunk_bytes : {1U, 7U, 1024U}) {
    for (std::uint64_t plain = 0; plain < 5 * std::uint64_t{chunk_bytes} + 3; ++plain) {
      for (const std::uint64_t request :
           {std::uint64_t{1}, std::uint64_t{chunk_bytes} * 2 + 40, std::uint64_t{1} << 30}) {
        const auto of = layout(plain, chunk_bytes);
        RangePlan plan(of, request);
        std::uint64_t at = 32, chunk = 0;
        while (const auto range = plan.next()) {
          ASSERT_EQ(range->offset, at);
          ASSERT_EQ(range->first_chunk, chunk);
          ASSERT_GT(range->chunks, 0U);
          ASSERT_TRUE(range->bytes <= request || range->chunks == 1);
          at += range->bytes;
          for (std::uint64_t end = chunk + range->chunks; chunk < end; ++chunk) plan.done(chunk);
        }
        ASSERT_EQ(at, of.ciphertext_bytes());
        ASSERT_TRUE(plan.complete());
      }
    }
  }
}

TEST(RangePlan, WhatIsGivenBackComesAgainAndWhatIsDoneDoesNot) {
  RangePlan plan(layout(10 * 1024, 1024), 3 * 1044);
  const auto first = plan.next();
  plan.done(0);
  plan.give_back(1);
  plan.give_back(2);
  EXPECT_EQ(plan.next()->first_chunk, 3U);
  EXPECT_EQ(plan.next()->first_chunk, 6U);
  EXPECT_EQ(plan.next()->first_chunk, 9U);
  EXPECT_EQ(*plan.next(), (Range{1, 2, 32 + 1044, 2 * 1044}));
  EXPECT_EQ(plan.next(), std::nullopt);
  EXPECT_EQ(first->chunks, 3U);
}

TEST(RangePlan, AReadersChunkIsItsOwnAndTheOthersFollowIt) {
  RangePlan plan(layout(100 * 1024, 1024), 2 * 1044);
  EXPECT_EQ(plan.next()->first_chunk, 0U);
  EXPECT_FALSE(plan.claim(1)) << "a worker has it";
  EXPECT_TRUE(plan.claim(50));
  EXPECT_FALSE(plan.claim(50));
  plan.focus(51);
  EXPECT_EQ(plan.next()->first_chunk, 51U);
  EXPECT_EQ(plan.next()->first_chunk, 53U);
  EXPECT_TRUE(plan.done(50));
  EXPECT_TRUE(plan.claim(50)) << "done, and wanted again: it was damaged where it was kept";
  EXPECT_FALSE(plan.done(50)) << "counted once";
  plan.focus(99);
  EXPECT_EQ(*plan.next(), (Range{99, 1, 32 + 99 * 1044, 1044})) << "no range goes around the end";
  EXPECT_EQ(plan.next()->first_chunk, 2U) << "then from the beginning";
}

/// Whatever workers and readers do, no record is in two hands and all are done in the end.
TEST(RangePlan, RandomHandsEndComplete) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    const auto of = layout(200 * 64 + random() % 64, 64);
    RangePlan plan(of, 1 + random() % 400);
    std::vector<std::uint64_t> hands;
    std::vector<bool> held(of.chunk_count());
    int steps = 0;
    while (!plan.complete()) {
      ASSERT_LT(++steps, 100'000);
      const auto take = [&](std::uint64_t chunk) {
        ASSERT_FALSE(held[chunk]);
        held[chunk] = true;
        hands.push_back(chunk);
      };
      if (random() % 3 == 0) {
        if (const auto range = plan.next()) {
          for (std::uint64_t i = 0; i < range->chunks; ++i) take(range->first_chunk + i);
        }
      } else if (random() % 8 == 0) {
        const std::uint64_t chunk = random() % of.chunk_count();
        const bool mine = plan.claim(chunk);
        ASSERT_EQ(mine, !held[chunk]);
        if (mine) take(chunk);
        plan.focus(random() % of.chunk_count());
      } else if (!hands.empty()) {
        std::swap(hands[random() % hands.size()], hands.back());
        const std::uint64_t chunk = hands.back();
        hands.pop_back();
        held[chunk] = false;
        if (random() % 5 == 0) {
          plan.give_back(chunk);
        } else {
          plan.done(chunk);
        }
      }
    }
    for (const std::uint64_t chunk : hands) EXPECT_FALSE(plan.done(chunk)) << "done before, and taken again";
    EXPECT_EQ(plan.next(), std::nullopt);
  }
}

TEST(RangePlan, TheLargestOffsetsFit) {
  const auto of = layout((std::uint64_t{1} << 42), 64U << 20);
  RangePlan plan(of, ~std::uint64_t{0});
  const auto all = plan.next();
  ASSERT_TRUE(all);
  EXPECT_EQ(all->offset + all->bytes, of.ciphertext_bytes());
}

}  // namespace
}  // namespace tb::hydrate
