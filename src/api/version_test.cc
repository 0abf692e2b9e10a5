// spec: Semantic Versioning 2.0.0, clauses 2, 9 to 11
#include "api/version.h"

#include <gtest/gtest.h>

namespace tb::api {
namespace {

TEST(Version, IsThreeNumbersAndMaybeMore) {
  for (const auto* good : {"0.0.0", "0.1.0", "10.20.30", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-0A.is-legal",
                           "1.0.0+build.01", "1.0.0-rc.1+001", "99999999999999999999.0.0"}) {
    EXPECT_TRUE(is_version(good)) << good;
  }
  for (const auto* bad : {"", "1", "1.2", "1.2.3.4", "01.2.3", "1.02.3", "v1.2.3", "1.2.3-", "1.2.3-a..b", "1.2.3-01",
                          "1.2.3+", "1.2.3 ", "1.2.x", "-1.2.3", "1.2.3-\xc3\xa4"}) {
    EXPECT_FALSE(is_version(bad)) << bad;
  }
  EXPECT_FALSE(is_version("1.2.3-" + std::string(64, 'a')));
}

TEST(Version, OrderIsThatOfClause11) {
  constexpr const char* kInOrder[] = {"0.9.9",      "1.0.0-alpha",  "1.0.0-alpha.1", "1.0.0-alpha.beta",
                                      "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
                                      "1.0.0",      "1.0.1",        "1.2.0",         "1.10.0",
                                      "2.0.0",      "10.0.0"};
  for (std::size_t a = 0; a < std::size(kInOrder); ++a) {
    for (std::size_t b = 0; b < std::size(kInOrder); ++b) {
      EXPECT_EQ(is_older(kInOrder[a], kInOrder[b]), a < b) << kInOrder[a] << " and " << kInOrder[b];
    }
  }
  EXPECT_FALSE(is_older("1.0.0+a", "1.0.0+b"));
  EXPECT_FALSE(is_older("1.0.0+b", "1.0.0+a"));
}

TEST(Version, WhatIsNoneIsOlderThanAll) {
  EXPECT_TRUE(is_older("", "0.0.0-a"));
  EXPECT_TRUE(is_older("newest", "0.0.1"));
  EXPECT_FALSE(is_older("newest", "also none"));
  EXPECT_FALSE(is_older("0.0.1", "none"));
}

}  // namespace
}  // namespace tb::api
