#include "hydrate/connections.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace tb::hydrate {
namespace {

/// Rounds against a network that gives `rate(connections)`; the number that it stays with.
unsigned settles_at(ConnectionSearch& search, const std::function<double(unsigned)>& rate) {
  for (int round = 0; round < 10; ++round) search.measured(rate(search.connections()));
  return search.connections();
}

TEST(ConnectionSearch, StaysWhereMoreBringsNoMore) {
  ConnectionSearch search(32);
  EXPECT_EQ(search.connections(), 4U);
  EXPECT_EQ(settles_at(search, [](unsigned) { return 1e9; }), 4U);
}

TEST(ConnectionSearch, GrowsAsLongAsItPays) {
  for (const unsigned enough : {8U, 16U, 32U}) {
    ConnectionSearch search(32);
    EXPECT_EQ(settles_at(search, [&](unsigned n) { return 1e7 * std::min(n, enough); }), enough);
  }
}

TEST(ConnectionSearch, KeepsTheBound) {
  for (const unsigned most : {1U, 2U, 3U, 5U, 24U}) {
    ConnectionSearch search(most);
    for (int round = 0; round < 20; ++round) {
      ASSERT_GE(search.connections(), 1U);
      ASSERT_LE(search.connections(), most);
      search.measured(1e6 * search.connections());
    }
    EXPECT_EQ(search.connections(), most);
  }
}

TEST(ConnectionSearch, TakesBackWhatMadeItWorse) {
  ConnectionSearch search(32);
  EXPECT_EQ(settles_at(search, [](unsigned n) { return n <= 8 ? 1e7 * n : 2e7; }), 8U);
}

TEST(ConnectionSearch, SearchesAnewWhenTheNetworkHasChanged) {
  ConnectionSearch search(32);
  EXPECT_EQ(settles_at(search, [](unsigned) { return 1e9; }), 4U);
  EXPECT_EQ(settles_at(search, [](unsigned n) { return 1e6 * std::min(n, 16U); }), 16U);
}

}  // namespace
}  // namespace tb::hydrate
