// spec: tbenc-v1 1 and 3
#include "tbenc/chunk.h"

#include <gtest/gtest.h>

#include "tbenc/test_files.h"

namespace tb::tbenc {
namespace {

constexpr std::string_view kKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
constexpr std::string_view kRecord =
    "0000001b"
    "c1251786d7795ce6600fe511411200b7574f1c3689bd915dd2146e"
    "9d6a3f9d2e0d72111179fe7fb9c061d7";

struct Sealed {
  ChunkCipher cipher{test::key_from_hex(kKey), test::header_of(1024)};
  Bytes plain = test::repeated("TrustBridge-Test-Vector-123", 27);
  Bytes record = from_hex(kRecord).value();
};

std::string open_reason(ChunkCipher& cipher, std::uint64_t index, ByteView record, std::size_t plain_bytes) {
  Bytes plain(plain_bytes, 0xee);
  const auto opened = cipher.open(index, record, plain);
  return opened ? "" : opened.error().reason;
}

TEST(Chunk, SealsTheKnownRecord) {
  Sealed given;
  Bytes record(47);
  given.cipher.seal(0, given.plain, record);
  EXPECT_EQ(to_hex(record), kRecord);
}

TEST(Chunk, OpensTheKnownRecord) {
  Sealed given;
  Bytes plain(27);
  ASSERT_TRUE(given.cipher.open(0, given.record, plain));
  EXPECT_EQ(plain, given.plain);
}

TEST(Chunk, SealsAndOpensInPlace) {
  Sealed given;
  Bytes record(47);
  std::ranges::copy(given.plain, record.begin() + 4);
  given.cipher.seal(0, ByteView(record).subspan(4, 27), record);
  EXPECT_EQ(to_hex(record), kRecord);
  ASSERT_TRUE(given.cipher.open(0, record, MutableBytes(record).subspan(4, 27)));
  EXPECT_EQ(Bytes(record.begin() + 4, record.begin() + 31), given.plain);
}

TEST(Chunk, ACloneDoesTheSame) {
  Sealed given;
  ChunkCipher clone = given.cipher.clone();
  Bytes record(47);
  clone.seal(0, given.plain, record);
  EXPECT_EQ(to_hex(record), kRecord);
}

TEST(Chunk, RefusesEveryFlippedBitAndWipesTheOutput) {
  Sealed given;
  for (std::size_t bit = 32; bit < given.record.size() * 8; ++bit) {
    Bytes bad = given.record;
    bad[bit / 8] = static_cast<std::uint8_t>(bad[bit / 8] ^ (1 << bit % 8));
    Bytes plain(27, 0xee);
    const auto opened = given.cipher.open(0, bad, plain);
    ASSERT_FALSE(opened) << bit;
    EXPECT_EQ(opened.error().reason, "tag_mismatch");
    EXPECT_EQ(opened.error().code(), Code::kTampered);
    EXPECT_EQ(plain, Bytes(27, 0)) << "output not wiped for bit " << bit;
  }
}

TEST(Chunk, RefusesAFlippedLength) {
  Sealed given;
  for (std::size_t bit = 0; bit < 32; ++bit) {
    Bytes bad = given.record;
    bad[bit / 8] = static_cast<std::uint8_t>(bad[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(open_reason(given.cipher, 0, bad, 27), "record_malformed") << bit;
  }
}

TEST(Chunk, PositionIsAuthenticated) {
  Sealed given;
  for (const std::uint64_t index : {std::uint64_t{1}, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
    EXPECT_EQ(open_reason(given.cipher, index, given.record, 27), "tag_mismatch");
  }
}

TEST(Chunk, HeaderAndKeyAreAuthenticated) {
  Sealed given;
  ChunkCipher other_chunk(test::key_from_hex(kKey), test::header_of(2048));
  ChunkCipher other_prefix(test::key_from_hex(kKey), test::header_of(1024, {1, 2, 3, 5}));
  ChunkCipher other_key(test::key_of(1), test::header_of(1024));
  for (auto* cipher : {&other_chunk, &other_prefix, &other_key}) {
    EXPECT_EQ(open_reason(*cipher, 0, given.record, 27), "tag_mismatch");
  }
}

TEST(Chunk, LengthIsAuthenticated) {
  Sealed given;
  Bytes shorter = given.record;
  store_be32(shorter.data(), 26);
  EXPECT_EQ(open_reason(given.cipher, 0, shorter, 26), "tag_mismatch");
}

TEST(Chunk, RefusesLengthsThatDoNotBelong) {
  Sealed given;
  EXPECT_EQ(open_reason(given.cipher, 0, given.record, 26), "record_malformed");
  EXPECT_EQ(open_reason(given.cipher, 0, given.record, 28), "record_malformed");
  for (const std::uint32_t length : {0U, 1025U, 0xffffffffU}) {
    Bytes bad = given.record;
    store_be32(bad.data(), length);
    EXPECT_EQ(parse_record_length(bad, given.cipher.header()).error().reason, "record_malformed") << length;
  }
}

TEST(Chunk, RefusesACutRecord) {
  Sealed given;
  for (std::size_t bytes = 0; bytes < given.record.size(); ++bytes) {
    EXPECT_EQ(open_reason(given.cipher, 0, ByteView(given.record).first(bytes), 27), "record_truncated") << bytes;
  }
}

}  // namespace
}  // namespace tb::tbenc
