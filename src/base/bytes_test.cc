#include "base/bytes.h"

#include <gtest/gtest.h>

namespace tb {
namespace {

TEST(Bytes, BigEndianRoundTrip) {
  std::uint8_t b[8];
  store_be64(b, 0x0102030405060708);
  EXPECT_EQ(b[0], 1);
  EXPECT_EQ(b[7], 8);
  EXPECT_EQ(load_be64(b), 0x0102030405060708U);
  EXPECT_EQ(load_be32(b), 0x01020304U);
  EXPECT_EQ(load_be16(b), 0x0102U);
  EXPECT_EQ(load_le32(b), 0x04030201U);
  EXPECT_EQ(load_le64(b), 0x0807060504030201U);
}

TEST(Hex, RoundTripAndRefusals) {
  EXPECT_EQ(to_hex(from_hex("00fFa5").value()), "00ffa5");
  EXPECT_EQ(from_hex("0").error().reason, "bad_hex");
  EXPECT_EQ(from_hex("0g").error().reason, "bad_hex");
  EXPECT_EQ(from_hex(" 0").error().reason, "bad_hex");
}

// RFC 4648 section 10.
TEST(Base64, Rfc4648Vectors) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"", ""},          {"f", "Zg=="},      {"fo", "Zm8="},        {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : cases) {
    EXPECT_EQ(to_base64(as_bytes(plain)), text);
    EXPECT_EQ(as_text(from_base64(text).value()), plain);
    std::string url(text);
    while (url.ends_with('=')) url.pop_back();
    EXPECT_EQ(to_base64url(as_bytes(plain)), url);
    EXPECT_EQ(as_text(from_base64url(url).value()), plain);
  }
}

TEST(Base64, Refusals) {
  for (const auto* bad : {"Zg", "Zg=", "Zh==", "Z g=", "Zg==Zg==", "=", "====", "Zm9v\n", "Z-_v"})
    EXPECT_FALSE(from_base64(bad).has_value()) << bad;
  for (const auto* bad : {"Zg==", "Z", "Zh", "Zm9v+", "Zm8/", "Zm 9"}) EXPECT_FALSE(from_base64url(bad).has_value()) << bad;
}

TEST(Utf8, AcceptsAndRefuses) {
  for (const auto* good : {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"}) EXPECT_TRUE(is_utf8(good)) << good;
  for (const auto* bad : {"\x80", "\xc0\xaf", "\xc1\x81", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xff"})
    EXPECT_FALSE(is_utf8(bad)) << bad;
}

}  // namespace
}  // namespace tb
