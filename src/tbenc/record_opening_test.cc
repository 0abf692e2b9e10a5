// spec: tbenc-v1 1 and 3
#include "tbenc/record_opening.h"

#include <gtest/gtest.h>

#include "tbenc/test_files.h"

namespace tb::tbenc {
namespace {

constexpr std::string_view kKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Sealed {
  ChunkCipher cipher{test::key_from_hex(kKey), test::header_of(65536)};
  Bytes plain = test::repeated("TrustBridge", 5000);
  Bytes record = Bytes(plain.size() + kRecordOverhead);
  Sealed() { cipher.seal(7, plain, record); }
};

/// The reason of the error, or "" where the record was opened; `plain` is what was left.
std::string open_in(Sealed& given, ByteView record, std::size_t piece_bytes, Bytes& plain) {
  RecordOpening opening(given.cipher, 7, plain);
  while (opening.missing() != 0 && !record.empty()) {
    const ByteView piece = record.first(std::min({piece_bytes, opening.missing(), record.size()}));
    if (auto fed = opening.feed(piece); !fed) return fed.error().reason;
    record = record.subspan(piece.size());
  }
  return opening.done() ? "" : "unfinished";
}

TEST(RecordOpening, AnySplitGivesTheSame) {
  Sealed given;
  for (const std::size_t piece : {1U, 2U, 3U, 4U, 5U, 7U, 16U, 20U, 1000U, 4999U, 5000U, 5003U, 5004U, 5005U, 5019U, 5020U}) {
    Bytes plain(given.plain.size());
    EXPECT_EQ(open_in(given, given.record, piece, plain), "") << piece;
    EXPECT_EQ(plain, given.plain) << piece;
  }
}

TEST(RecordOpening, AnyChangedBitIsRefusedAndWiped) {
  Sealed given;
  for (std::size_t at = 0; at < given.record.size(); at += at < 8 || at > 4990 ? 1U : 211U) {
    Bytes record = given.record;
    record[at] ^= 0x10;
    for (const std::size_t piece : {std::size_t{1}, std::size_t{600}, record.size()}) {
      Bytes plain(given.plain.size());
      EXPECT_EQ(open_in(given, record, piece, plain), at < 4 ? "record_malformed" : "tag_mismatch") << at;
      EXPECT_EQ(plain, Bytes(plain.size())) << at;
    }
  }
}

TEST(RecordOpening, WhatIsLeftUnfinishedIsWiped) {
  Sealed given;
  Bytes plain(given.plain.size(), 0xee);
  EXPECT_EQ(open_in(given, ByteView(given.record).first(5019), 100, plain), "unfinished");
  EXPECT_EQ(plain, Bytes(plain.size()));
}

TEST(RecordOpening, TheCipherServesOnAfterwards) {
  Sealed given;
  Bytes plain(given.plain.size());
  EXPECT_EQ(open_in(given, ByteView(given.record).first(2000), 100, plain), "unfinished");
  EXPECT_EQ(open_in(given, given.record, 100, plain), "");
  ASSERT_TRUE(given.cipher.open(7, given.record, plain));
  EXPECT_EQ(plain, given.plain);
}

TEST(RecordOpening, AnotherPositionIsRefused) {
  Sealed given;
  Bytes plain(given.plain.size());
  RecordOpening opening(given.cipher, 8, plain);
  EXPECT_EQ(opening.feed(given.record).error().reason, "tag_mismatch");
}

}  // namespace
}  // namespace tb::tbenc
