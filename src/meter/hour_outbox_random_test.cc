// Random lives of the outbox against a marketplace that fails in every way: it commits and loses the answer, refuses,
// is slow, says 429 and 5xx, takes a part of a batch, and other clients take hours of ours. The process dies at every
// point, clocks jump. In the end what was accepted is what was owed, in every run.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "api/usage.h"
#include "base/test_scale.h"
#include "meter/hour_outbox.h"
#include "meter/ledger.h"
#include "meter/ledger_books.h"
#include "sql/sqlite.h"

namespace tb::meter {
namespace {

using Kind = EventAnswer::Kind;
using api::kHourMs;
constexpr UnixMs kStart = 1'795'651'200'000;

/// An event of somebody else's that equals one of ours whose answer was lost cannot be told from ours by anyone: theirs
/// differ (docs/metering.md names the rest).
constexpr std::int64_t kForeign = 1'000'000;

struct Killed {};

class Marketplace final : public EventSink {
 public:
  explicit Marketplace(std::mt19937& random) : random_(random) {}

  UnixMs now = kStart;
  double trouble = 0.3;  ///< how much goes wrong
  std::map<std::pair<std::string, UnixMs>, std::int64_t> taken;
  std::map<std::string, std::int64_t> ours, theirs;

  std::expected<std::vector<EventAnswer>, Trouble> send(std::span<const HourEvent> events) override {
    EXPECT_GE(events.size(), 1U);
    EXPECT_LE(events.size(), kMaxBatch);
    if (chance(trouble * 0.2)) throw Killed();
    if (chance(trouble * 0.3)) return lost();
    if (chance(trouble * 0.2)) {
      return std::unexpected(Trouble{Error("marketplace_refused", "401"), true, 1000});
    }
    const std::size_t processed = chance(trouble * 0.2) ? random_() % (events.size() + 1) : events.size();
    std::vector<EventAnswer> out;
    for (std::size_t i = 0; i < events.size(); ++i) {
      out.push_back(i < processed ? take(events[i]) : EventAnswer{.kind = Kind::kUnclear});
    }
    if (chance(trouble * 0.2)) throw Killed();
    if (chance(trouble * 0.3)) return lost();
    return out;
  }

  EventSum submitted(const std::string& dimension, UnixMs day) override {
    if (chance(trouble)) throw Error("marketplace_unavailable", "503");
    EventSum out;
    for (const auto& [key, quantity] : taken) {
      if (key.first != dimension || key.second / api::kDayMs * api::kDayMs != day) continue;
      out.quantity += quantity;
      ++out.count;
    }
    return out;
  }

  void take_for_another(const std::string& dimension, UnixMs hour, std::int64_t quantity) {
    if (taken.emplace(std::pair(dimension, hour), quantity).second) theirs[dimension] += quantity;
  }

 private:
  bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }
  std::unexpected<Trouble> lost() { return std::unexpected(Trouble{Error("marketplace_unavailable", "lost")}); }
  EventAnswer take(const HourEvent& event) {
    EXPECT_GT(event.quantity, 0);
    EXPECT_EQ(event.hour % kHourMs, 0);
    if (chance(trouble * 0.1)) return {.kind = Kind::kNotNow};
    if (chance(trouble * 0.1)) return {.kind = Kind::kInactive};
    if (event.hour > now) return {.kind = Kind::kRefused, .detail = "in the future"};
    const auto found = taken.find({event.dimension, event.hour});
    if (found != taken.end()) return {.kind = Kind::kDuplicate, .same = found->second == event.quantity};
    if (now - event.hour >= HourOutbox::kOldestMs) return {.kind = Kind::kExpired};
    taken[{event.dimension, event.hour}] = event.quantity;
    ours[event.dimension] += event.quantity;
    return {.kind = Kind::kAccepted};
  }

  std::mt19937& random_;
};

void live_once(unsigned seed) {
  std::mt19937 random(seed);
  const auto below = [&](std::int64_t end) { return std::uniform_int_distribution<std::int64_t>(0, end - 1)(random); };
  LedgerDb db(sql::open_sqlite(":memory:"));
  Ledger ledger(db);
  Marketplace market(random);
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
      market.take_for_another("tokens", (market.now / kHourMs - below(3)) * kHourMs, kForeign + below(50));
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
