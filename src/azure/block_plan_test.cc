// Sizes at their bounds, and names that never say the same of two contents.
#include "azure/block_plan.h"

#include <gtest/gtest.h>

#include <set>

namespace tb::azure {
namespace {

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;

BlockPlan plan(std::uint64_t total, std::uint64_t block = 0) {
  return value_or_throw(BlockPlan::make(total, block));
}

TEST(BlockPlan, BlocksCoverTheFileInOrder) {
  for (const std::uint64_t total : {std::uint64_t{1}, kMib, 8 * kMib - 1, 8 * kMib, 8 * kMib + 1, 1000 * kMib + 17}) {
    const BlockPlan blocks = plan(total);
    std::uint64_t at = 0;
    for (std::uint32_t i = 0; i < blocks.count(); ++i) {
      const Block block = blocks.block(i);
      EXPECT_EQ(block.offset, at);
      EXPECT_GT(block.bytes, 0U);
      EXPECT_LE(block.bytes, blocks.block_bytes());
      at += block.bytes;
    }
    EXPECT_EQ(at, total);
  }
  EXPECT_EQ(plan(0).count(), 0U);
}

TEST(BlockPlan, SizeGrowsOnlyWhereFiftyThousandDoNotDo) {
  EXPECT_EQ(plan(1).block_bytes(), 8 * kMib);
  EXPECT_EQ(plan(kMostBlocks * 8 * kMib).block_bytes(), 8 * kMib);
  EXPECT_EQ(plan(kMostBlocks * 8 * kMib).count(), kMostBlocks);
  EXPECT_EQ(plan(kMostBlocks * 8 * kMib + 1).block_bytes(), 9 * kMib);
  EXPECT_EQ(plan(kMostBlocks * 64 * kMib).count(), kMostBlocks);
  EXPECT_EQ(plan(100 * kMib, 16 * kMib).count(), 7U);
}

TEST(BlockPlan, WhatDoesNotFitIsRefused) {
  const auto reason = [](std::uint64_t total, std::uint64_t block) {
    const auto made = BlockPlan::make(total, block);
    return made ? "" : made.error().reason;
  };
  EXPECT_EQ(reason(kMostBlocks * 64 * kMib + 1, 0), "file_too_large");
  EXPECT_EQ(reason(~std::uint64_t{0}, 0), "file_too_large");
  EXPECT_EQ(reason(kMostBlocks * 8 * kMib + 1, 8 * kMib), "file_too_large");
  EXPECT_EQ(reason(kMib, 65 * kMib), "usage");
}

TEST(BlockPlan, NamesTellNumberSizeAndContent) {
  std::set<std::string> ids;
  for (const std::uint64_t size : {8 * kMib, 9 * kMib}) {
    for (const std::uint32_t number : {0U, 1U, 49'999U}) {
      for (const char* content : {"one", "other"}) {
        const std::string id = plan(1, size).id(number, sha256(content));
        EXPECT_EQ(id.size(), 44U);
        EXPECT_EQ(value_or_throw(from_base64(id)).size(), 32U);
        EXPECT_TRUE(ids.insert(id).second);
      }
    }
  }
  const std::string list[] = {"QQ==", "Qg=="};
  EXPECT_EQ(
      block_list_body(list),
      R"(<?xml version="1.0" encoding="utf-8"?><BlockList><Latest>QQ==</Latest><Latest>Qg==</Latest></BlockList>)");
}

}  // namespace
}  // namespace tb::azure
