#include "hydrate/range_plan.h"

#include <gtest/gtest.h>

namespace tb::hydrate {
namespace {

tbenc::Layout layout(std::uint64_t plain, std::uint32_t chunk_bytes) {
  return value_or_throw(tbenc::Layout::from_plaintext(plain, chunk_bytes));
}

TEST(RangePlan, EmptyAssetHasNoRanges) {
  EXPECT_EQ(RangePlan(layout(0, 1024), 8192).range_count(), 0U);
}

TEST(RangePlan, OneChunkAtLeastHoweverSmallTheRequest) {
  const RangePlan plan(layout(5000, 1024), 1);
  EXPECT_EQ(plan.range_count(), 5U);
  EXPECT_EQ(plan.range(0), (Range{0, 1, 32, 1044}));
  EXPECT_EQ(plan.range(4), (Range{4, 1, 32 + 4 * 1044, 904 + 20}));
}

TEST(RangePlan, WholeRecordsUpToTheRequest) {
  EXPECT_EQ(RangePlan(layout(10 * 1024, 1024), 3 * 1044).chunks_per_range(), 3U);
  EXPECT_EQ(RangePlan(layout(10 * 1024, 1024), 3 * 1044 - 1).chunks_per_range(), 2U);
  const RangePlan plan(layout(10 * 1024, 1024), 3 * 1044);
  EXPECT_EQ(plan.range_count(), 4U);
  EXPECT_EQ(plan.range(3), (Range{9, 1, 32 + 9 * 1044, 1044}));
}

/// Ranges touch, ascend, hold whole records and end where the file ends: for sizes around every border.
TEST(RangePlan, CoversEveryByteOnce) {
  for (const std::uint32_t chunk_bytes : {1U, 7U, 1024U}) {
    for (std::uint64_t plain = 0; plain < 5 * std::uint64_t{chunk_bytes} + 3; ++plain) {
      for (const std::uint64_t request :
           {std::uint64_t{1}, std::uint64_t{chunk_bytes} * 2 + 40, std::uint64_t{1} << 30}) {
        const auto of = layout(plain, chunk_bytes);
        const RangePlan plan(of, request);
        std::uint64_t at = 32, chunk = 0;
        for (std::uint64_t i = 0; i < plan.range_count(); ++i) {
          const Range range = plan.range(i);
          ASSERT_EQ(range.offset, at);
          ASSERT_EQ(range.first_chunk, chunk);
          ASSERT_GT(range.chunks, 0U);
          ASSERT_TRUE(range.bytes <= request || range.chunks == 1);
          at += range.bytes;
          chunk += range.chunks;
        }
        ASSERT_EQ(at, of.ciphertext_bytes());
        ASSERT_EQ(chunk, of.chunk_count());
      }
    }
  }
}

TEST(RangePlan, HugeAssetsArePlannedByArithmetic) {
  const auto of = layout((std::uint64_t{1} << 62), 4U << 20);
  const RangePlan plan(of, 64U << 20);
  const Range last = plan.range(plan.range_count() - 1);
  EXPECT_EQ(last.offset + last.bytes, of.ciphertext_bytes());
  // The largest file there can be, in the smallest chunks: no sum passes 64 bits.
  const auto most = layout((tbenc::kMaxFileBytes - 32) / 21, 1);
  const RangePlan tiny(most, ~std::uint64_t{0});
  ASSERT_EQ(tiny.range_count(), 1U);
  EXPECT_EQ(tiny.range(0).offset + tiny.range(0).bytes, most.ciphertext_bytes());
}

}  // namespace
}  // namespace tb::hydrate
