// spec: tbenc-v1 2
#include "tbenc/layout.h"

#include <gtest/gtest.h>

#include <random>

#include "tbenc/header.h"

namespace tb::tbenc {
namespace {

TEST(Layout, CheckValuesOfTheFormat) {
  EXPECT_EQ(Layout::from_plaintext(0, 1024)->ciphertext_bytes(), 32U);
  EXPECT_EQ(Layout::from_plaintext(1, 1024)->ciphertext_bytes(), 53U);
  EXPECT_EQ(Layout::from_plaintext(1024, 1024)->ciphertext_bytes(), 1076U);
  EXPECT_EQ(Layout::from_plaintext(1025, 1024)->ciphertext_bytes(), 1097U);
  EXPECT_EQ(Layout::from_plaintext(4096, 1024)->ciphertext_bytes(), 4208U);
  EXPECT_EQ(Layout::from_plaintext(16U << 20, 4U << 20)->ciphertext_bytes(), 16777328U);
}

// The file written out record by record is what the arithmetic says of it.
void expect_adds_up(std::uint64_t plain, std::uint32_t chunk) {
  const auto layout = Layout::from_plaintext(plain, chunk).value();
  std::uint64_t file_at = kHeaderBytes;
  std::uint64_t plain_at = 0;
  for (std::uint64_t i = 0; i < layout.chunk_count(); ++i) {
    ASSERT_EQ(layout.record_offset(i), file_at);
    ASSERT_EQ(layout.plain_offset(i), plain_at);
    ASSERT_EQ(layout.record_bytes(i), layout.chunk_plain_bytes(i) + 20);
    ASSERT_GT(layout.chunk_plain_bytes(i), 0U);
    ASSERT_LE(layout.chunk_plain_bytes(i), chunk);
    if (i + 1 < layout.chunk_count()) ASSERT_EQ(layout.chunk_plain_bytes(i), chunk);
    ASSERT_EQ(layout.chunk_of(plain_at), i);
    ASSERT_EQ(layout.chunk_of(plain_at + layout.chunk_plain_bytes(i) - 1), i);
    file_at += layout.record_bytes(i);
    plain_at += layout.chunk_plain_bytes(i);
  }
  ASSERT_EQ(plain_at, plain);
  ASSERT_EQ(layout.ciphertext_bytes(), file_at);
  ASSERT_EQ(Layout::from_ciphertext(file_at, chunk).value(), layout);
}

TEST(Layout, AddsUpForEverySizeOfSmallFiles) {
  for (const std::uint32_t chunk : {1U, 2U, 3U, 16U, 19U, 20U, 21U, 64U}) {
    for (std::uint64_t plain = 0; plain <= 4 * chunk + 2; ++plain) expect_adds_up(plain, chunk);
  }
}

TEST(Layout, AddsUpForRandomSizes) {
  std::mt19937_64 random(20261122);
  for (int i = 0; i < 200; ++i) {
    const auto chunk = static_cast<std::uint32_t>(random() % kMaxChunkBytes + 1);
    expect_adds_up(random() % (std::uint64_t{chunk} * 50 + 1), chunk);
  }
}

TEST(Layout, EveryFileSizeIsEitherOneLayoutOrRefused) {
  constexpr std::uint32_t kChunk = 5;
  std::size_t accepted = 0;
  for (std::uint64_t file = 0; file < 400; ++file) {
    const auto layout = Layout::from_ciphertext(file, kChunk);
    if (layout) {
      ++accepted;
      EXPECT_EQ(layout->ciphertext_bytes(), file);
    } else if (file < kHeaderBytes) {
      EXPECT_EQ(layout.error().reason, "header_malformed");
    } else {
      EXPECT_EQ(layout.error().reason, "record_truncated");
      const std::uint64_t rest = (file - kHeaderBytes) % (kChunk + 20);
      EXPECT_TRUE(rest >= 1 && rest <= 20) << file;
    }
  }
  EXPECT_EQ(accepted, 71U);  // of every 25 sizes 5, for 368 sizes
}

TEST(Layout, RefusesBadChunkSizes) {
  for (const std::uint32_t chunk : {0U, kMaxChunkBytes + 1, 0xffffffffU}) {
    EXPECT_EQ(Layout::from_plaintext(1, chunk).error().reason, "chunk_bytes_invalid");
    EXPECT_EQ(Layout::from_ciphertext(53, chunk).error().reason, "chunk_bytes_invalid");
  }
}

TEST(Layout, RefusesSizesThatOverflowAFileOffset) {
  constexpr auto kMost = ~std::uint64_t{0};
  for (const std::uint32_t chunk : {1U, 1024U, kMaxChunkBytes}) {
    for (const std::uint64_t plain : {kMost, kMost - 1, kMaxFileBytes, kMaxFileBytes - 31}) {
      EXPECT_EQ(Layout::from_plaintext(plain, chunk).error().reason, "size_overflow");
    }
    EXPECT_EQ(Layout::from_ciphertext(kMaxFileBytes + 1, chunk).error().reason, "size_overflow");
    EXPECT_EQ(Layout::from_ciphertext(kMost, chunk).error().reason, "size_overflow");
  }
}

TEST(Layout, TheLargestFileHasEveryOffsetInRange) {
  for (const std::uint32_t chunk : {1U, 1024U, kMaxChunkBytes}) {
    // The largest plaintext that is not refused, by bisection.
    std::uint64_t low = 0;
    std::uint64_t high = kMaxFileBytes;
    while (low + 1 < high) {
      const std::uint64_t middle = low + (high - low) / 2;
      (Layout::from_plaintext(middle, chunk) ? low : high) = middle;
    }
    const auto layout = Layout::from_plaintext(low, chunk).value();
    const std::uint64_t last = layout.chunk_count() - 1;
    EXPECT_LE(layout.ciphertext_bytes(), kMaxFileBytes);
    EXPECT_EQ(layout.record_offset(last) + layout.record_bytes(last), layout.ciphertext_bytes());
    EXPECT_EQ(Layout::from_ciphertext(layout.ciphertext_bytes(), chunk).value(), layout);
  }
}

TEST(Layout, HoldsAFileSizeAgainstItself) {
  const auto layout = Layout::from_plaintext(2500, 1024).value();
  EXPECT_TRUE(layout.check_file_bytes(layout.ciphertext_bytes()));
  EXPECT_EQ(layout.check_file_bytes(layout.ciphertext_bytes() - 1).error().reason, "ciphertext_truncated");
  EXPECT_EQ(layout.check_file_bytes(layout.ciphertext_bytes() + 1).error().reason, "trailing_bytes");
}

}  // namespace
}  // namespace tb::tbenc
