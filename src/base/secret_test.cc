#include "base/secret.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <concepts>
#include <ostream>

namespace tb {
namespace {

template <typename T>
concept Streams = requires(std::ostream& os, const T& v) { os << v; };

static_assert(!Streams<FileKey>);
static_assert(!Streams<SecretString>);
static_assert(!Streams<SecretUrl>);
static_assert(!fmt::is_formattable<FileKey>::value);
static_assert(!fmt::is_formattable<SecretString>::value);
static_assert(!std::equality_comparable<FileKey> && !std::equality_comparable<SecretString>);
static_assert(!std::copy_constructible<FileKey> && !std::copy_constructible<SecretString>);

TEST(Secret, MoveWipesTheSource) {
  FileKey a;
  a.reveal_mutable()[0] = 7;
  FileKey b = std::move(a);
  EXPECT_EQ(b.reveal()[0], 7);
  EXPECT_EQ(a.reveal()[0], 0);  // NOLINT: that is what is tested
}

TEST(SecretString, MoveEmptiesTheSource) {
  SecretString a("a token that is longer than any small buffer");
  SecretString b = std::move(a);
  EXPECT_TRUE(a.empty());  // NOLINT
  EXPECT_TRUE(b.reveal().starts_with("a token"));
}

TEST(SecretUrl, PrintsNoQueryAndNoUserinfo) {
  EXPECT_EQ(SecretUrl("https://h.example/p/x?sig=abc").printable(), "https://h.example/p/x");
  EXPECT_EQ(SecretUrl("https://u:p@h.example/p#f").printable(), "https://h.example/p");
  EXPECT_EQ(SecretUrl("https://h.example/a@b?x").printable(), "https://h.example/a@b");
}

TEST(EqualConstantTime, Compares) {
  EXPECT_TRUE(equal_constant_time("abc", "abc"));
  EXPECT_FALSE(equal_constant_time("abc", "abd"));
  EXPECT_FALSE(equal_constant_time("abc", "ab"));
  EXPECT_TRUE(equal_constant_time("", ""));
}

TEST(WipedBuffer, OwnsZeroedMemory) {
  WipedBuffer a(3 << 20);
  ASSERT_EQ(a.size(), std::size_t{3} << 20);
  EXPECT_EQ(a.data()[a.size() - 1], 0);
  a.data()[5] = 1;
  WipedBuffer b = std::move(a);
  EXPECT_EQ(b.data()[5], 1);
  EXPECT_EQ(a.data(), nullptr);  // NOLINT
  EXPECT_EQ(WipedBuffer().size(), 0U);
}

}  // namespace
}  // namespace tb
