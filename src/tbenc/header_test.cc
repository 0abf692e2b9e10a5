// spec: tbenc-v1 1 and 3
#include "tbenc/header.h"

#include <gtest/gtest.h>

#include "tbenc/test_files.h"

namespace tb::tbenc {
namespace {

std::string reason_of(const Bytes& encoded) {
  const auto header = parse_header(encoded);
  return header ? "" : header.error().reason;
}

Bytes good() {
  const auto encoded = encode_header(test::header_of(1024));
  return {encoded.begin(), encoded.end()};
}

TEST(Header, EncodesAsTheFormatSays) {
  EXPECT_EQ(to_hex(encode_header(test::header_of(1024))),
            "5442454e43303031"
            "0001"
            "01"
            "00000400"
            "01020304"
            "00000000000000000000000000");
}

TEST(Header, WhatIsAcceptedEncodesToTheSameBytes) {
  for (const std::uint32_t chunk_bytes : {1U, 1000U, 1024U, kDefaultChunkBytes, kMaxChunkBytes}) {
    const auto header = test::header_of(chunk_bytes, {0xff, 0, 0x80, 7});
    EXPECT_EQ(parse_header(encode_header(header)).value(), header);
  }
}

TEST(Header, EveryByteThatIsNoSizeAndNoPrefixIsFixed) {
  for (std::size_t at = 0; at < kHeaderBytes; ++at) {
    if (at >= 11 && at < 19) continue;
    for (int bit = 0; bit < 8; ++bit) {
      Bytes bad = good();
      bad[at] = static_cast<std::uint8_t>(bad[at] ^ (1 << bit));
      EXPECT_EQ(reason_of(bad), "header_malformed") << "byte " << at << " bit " << bit;
    }
  }
}

TEST(Header, RefusesEveryShortLength) {
  for (std::size_t bytes = 0; bytes < kHeaderBytes; ++bytes) {
    Bytes cut = good();
    cut.resize(bytes);
    EXPECT_EQ(reason_of(cut), "header_malformed") << bytes;
  }
  Bytes longer = good();
  longer.push_back(7);
  EXPECT_EQ(reason_of(longer), "");
}

TEST(Header, RefusesChunkSizesOutsideTheFormat) {
  for (const std::uint32_t chunk_bytes : {0U, kMaxChunkBytes + 1, 0xffffffffU}) {
    Bytes bad = good();
    store_be32(&bad[11], chunk_bytes);
    EXPECT_EQ(reason_of(bad), "header_malformed") << chunk_bytes;
  }
}

TEST(Header, WritersKeepToTheirNarrowerSizes) {
  for (const std::uint32_t chunk_bytes : {0U, 1U, 1023U, kMaxChunkBytes + 1}) {
    EXPECT_EQ(new_header(chunk_bytes).error().reason, "chunk_bytes_invalid") << chunk_bytes;
  }
  EXPECT_TRUE(new_header(1024));
  EXPECT_TRUE(new_header(kMaxChunkBytes));
  EXPECT_NE(new_header().value().nonce_prefix, new_header().value().nonce_prefix);
}

TEST(Header, IsHeldAgainstWhatTheManifestSays) {
  const auto header = test::header_of(1024);
  EXPECT_TRUE(check_header(header, {}));
  EXPECT_TRUE(check_header(header, {.chunk_bytes = 1024, .nonce_prefix = NoncePrefix{1, 2, 3, 4}}));
  EXPECT_EQ(check_header(header, {.chunk_bytes = 2048}).error().reason, "header_mismatch");
  EXPECT_EQ(check_header(header, {.nonce_prefix = NoncePrefix{1, 2, 3, 5}}).error().reason, "nonce_prefix_mismatch");
}

}  // namespace
}  // namespace tb::tbenc
