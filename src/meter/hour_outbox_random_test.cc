// Random lives of the outbox against a marketplace that fails in every way. The process dies at every point, clocks
// jump. In the end what was accepted is what is owed, in every run.
#include <gtest/gtest.h>

#include "base/test_scale.h"
#include "meter/failing_marketplace_test.h"
#include "meter/ledger.h"
#include "meter/ledger_books.h"
#include "sql/sqlite.h"

namespace tb::meter {
namespace {

using api::kHourMs;
constexpr UnixMs kStart = 1'795'651'200'000;

void live_once(unsigned seed) {
  std::mt19937 random(seed);
  const auto below = [&](std::int64_t end) { return std::uniform_int_distribution<std::int64_t>(0, end - 1)(random); };
  LedgerDb db(sql::open_sqlite(":memory:"));
  Ledger ledger(db);
  FailingMarketplace market(random);
  market.now = kStart;
  const std::vector<std::string> dimensions = {"tokens", "requests"};
  std::optional<LedgerBooks> books(std::in_place, db, "res", dimensions);
  std::optional<HourOutbox> outbox(std::in_place, *books, dimensions);
  std::map<std::string, std::int64_t> owed;
  std::int64_t seq = 0;
  UnixMs skew = 0;
  const bool others = below(3) == 0;

  const auto work = [&] {
    try {
      if (below(20) == 0) throw Killed();
      outbox->seal(market.now + skew);
      if (below(20) == 0) throw Killed();
      outbox->drain(market, market.now + skew);
    } catch (const Killed&) {
      books.emplace(db, "res", dimensions);
      outbox.emplace(*books, dimensions);
    }
  };
  const std::int64_t steps = 10 + below(30);
  for (std::int64_t step = 0; step < steps; ++step) {
    market.trouble = below(4) == 0 ? 0.95 : 0.3;
    if (below(10) == 0) skew = below(6 * kHourMs) - 3 * kHourMs;
    if (below(3) == 0) skew = 0;
    for (std::int64_t i = below(4); i > 0; --i) {
      const std::int64_t tokens = below(50);
      const std::vector<LedgerEntry> one = {{.request_id = "r",
                                             .subject = "k",
                                             .time = market.now + skew - below(2) * below(kHourMs),
                                             .served = true,
                                             .usage = {.input_tokens = tokens}}};
      ledger.apply("log", seq++, one);
      owed["tokens"] += tokens;
      owed["requests"] += 1;
    }
    if (others && below(8) == 0) {
      market.take_for_another("res", "tokens", (market.now / kHourMs - below(3)) * kHourMs, kForeign + below(50));
    }
    work();
    if (below(2) == 0) work();
    market.now += below(4) == 0 ? below(30 * kHourMs) : below(kHourMs);
  }
  // Everything mends; a few days pass.
  market.trouble = 0;
  skew = 0;
  for (int hour = 0; hour < 100; ++hour) {
    market.now += kHourMs;
    outbox->seal(market.now);
    outbox->drain(market, market.now);
  }
  for (const auto& dimension : dimensions) {
    const auto sums = books->sums(dimension);
    ASSERT_EQ(sums.owed, owed[dimension]) << seed;
    ASSERT_EQ(sums.accepted + sums.pending, owed[dimension]) << "run " << seed << " " << dimension;
    // Nothing is billed twice, ever; and all is billed, but for what cannot be decided because others report, too.
    ASSERT_LE(market.ours[dimension], owed[dimension]) << "run " << seed << " " << dimension;
    ASSERT_GE(market.ours[dimension], sums.accepted) << "run " << seed << " " << dimension;
    if (!others || sums.pending == 0) {
      ASSERT_EQ(market.ours[dimension], owed[dimension]) << "run " << seed << " " << dimension;
    }
  }
}

TEST(HourOutboxRuns, AcceptedIsOwedInEveryOne) {
  const int runs = test::scaled(1000);
  for (int run = 0; run < runs && !testing::Test::HasFatalFailure(); ++run) live_once(static_cast<unsigned>(run));
}

}  // namespace
}  // namespace tb::meter
