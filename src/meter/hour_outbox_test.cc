#include "meter/hour_outbox.h"

#include <gtest/gtest.h>

#include "api/usage.h"
#include "meter/ledger.h"
#include "meter/ledger_books.h"
#include "sql/sqlite.h"

namespace tb::meter {
namespace {

using Kind = EventAnswer::Kind;
using api::kHourMs;
constexpr UnixMs kHour = 1'795'651'200'000;  // 2026-11-26T00:00:00Z
constexpr UnixMs kMinute = 60'000;

class Scripted final : public EventSink {
 public:
  std::expected<std::vector<EventAnswer>, Trouble> send(std::span<const HourEvent> events) override {
    EXPECT_LE(events.size(), kMaxBatch);
    sent.insert(sent.end(), events.begin(), events.end());
    ++batches;
    if (trouble) return std::unexpected(*trouble);
    std::vector<EventAnswer> out(events.size(), answer);
    return out;
  }
  EventSum submitted(const std::string&, UnixMs) override {
    if (unreadable) throw Error("marketplace_unavailable", "no answer");
    return found;
  }
  EventAnswer answer{.kind = Kind::kAccepted};
  std::optional<Trouble> trouble;
  EventSum found;
  bool unreadable = false;
  std::vector<HourEvent> sent;
  int batches = 0;
};

class HourOutboxTest : public testing::Test {
 protected:
  LedgerDb db_{sql::open_sqlite(":memory:")};
  Ledger ledger_{db_};
  LedgerBooks books_{db_, "res", {"tokens"}};
  HourOutbox outbox_{books_, {"tokens"}};
  Scripted sink_;
  std::int64_t seq_ = 0;

  void use(std::int64_t tokens, UnixMs time) {
    const std::vector<LedgerEntry> one = {
        {.request_id = "r", .subject = "k", .time = time, .served = true, .usage = {.input_tokens = tokens}}};
    ledger_.apply("log", seq_++, one);
  }
  HourOutbox::Round round(UnixMs now) {
    outbox_.seal(now);
    return outbox_.drain(sink_, now);
  }
};

TEST_F(HourOutboxTest, SendsAnHourOnceItHasEnded) {
  use(5, kHour + 1);
  EXPECT_EQ(round(kHour + 59 * kMinute).accepted, 0U);
  EXPECT_EQ(round(kHour + kHourMs + 30'000).accepted, 0U);
  EXPECT_EQ(round(kHour + kHourMs + kMinute).accepted, 1U);
  ASSERT_EQ(sink_.sent.size(), 1U);
  EXPECT_EQ(sink_.sent[0].hour, kHour);
  EXPECT_EQ(sink_.sent[0].quantity, 5);
  EXPECT_EQ(round(kHour + kHourMs + 2 * kMinute).accepted, 0U);
  EXPECT_EQ(sink_.sent.size(), 1U);
}

TEST_F(HourOutboxTest, SendsNoEmptyHours) {
  use(5, kHour);
  round(kHour + 9 * kHourMs + kMinute);
  EXPECT_EQ(sink_.sent.size(), 1U);
}

TEST_F(HourOutboxTest, GivesLateUsageToALaterHour) {
  use(5, kHour);
  round(kHour + kHourMs + kMinute);
  use(7, kHour + 1);
  round(kHour + kHourMs + 2 * kMinute);
  EXPECT_EQ(sink_.sent.size(), 1U);
  round(kHour + 2 * kHourMs + kMinute);
  ASSERT_EQ(sink_.sent.size(), 2U);
  EXPECT_EQ(sink_.sent[1].hour, kHour + kHourMs);
  EXPECT_EQ(sink_.sent[1].quantity, 7);
}

TEST_F(HourOutboxTest, GivesEachOfTheLastHoursItsOwnAndOlderUsageToTheFirst) {
  use(1, kHour - 50 * kHourMs);
  use(2, kHour);
  use(4, kHour + kHourMs);
  round(kHour + 2 * kHourMs + kMinute);
  ASSERT_EQ(sink_.sent.size(), 3U);
  EXPECT_EQ(sink_.sent[0].quantity, 1);
  EXPECT_EQ(sink_.sent[0].hour, kHour - 21 * kHourMs);
  EXPECT_EQ(sink_.sent[1].quantity, 2);
  EXPECT_EQ(sink_.sent[2].quantity, 4);
}

TEST_F(HourOutboxTest, SendsTwentyFiveAtMost) {
  LedgerBooks two_books(db_, "res", {"tokens", "requests"});
  HourOutbox two(two_books, {"tokens", "requests"});
  for (int i = 0; i < 20; ++i) use(1, kHour + i * kHourMs);
  two.seal(kHour + 20 * kHourMs + kMinute);
  EXPECT_EQ(two.drain(sink_, kHour + 20 * kHourMs + kMinute).accepted, 40U);
  EXPECT_EQ(sink_.batches, 2);
}

TEST_F(HourOutboxTest, TakesADuplicateOnlyForAnEventWhoseFateWasUnknown) {
  use(5, kHour);
  sink_.trouble = EventSink::Trouble{Error("marketplace_unavailable", "reset")};
  EXPECT_EQ(round(kHour + kHourMs + kMinute).waiting, 1U);
  sink_.trouble.reset();
  sink_.answer = {.kind = Kind::kDuplicate, .same = true};
  EXPECT_EQ(round(kHour + kHourMs + 2 * kMinute).accepted, 1U);
  EXPECT_EQ(books_.sums("tokens").accepted, 5);
}

TEST_F(HourOutboxTest, GivesAnHourThatWasTakenByAnotherToALaterOne) {
  use(5, kHour);
  sink_.answer = {.kind = Kind::kDuplicate, .same = true};
  EXPECT_EQ(round(kHour + kHourMs + kMinute).given_up, 1U);
  sink_.answer = {.kind = Kind::kAccepted};
  EXPECT_EQ(round(kHour + 2 * kHourMs + kMinute).accepted, 1U);
  EXPECT_EQ(sink_.sent.back().hour, kHour + kHourMs);
  EXPECT_EQ(sink_.sent.back().quantity, 5);
}

TEST_F(HourOutboxTest, TakesNoDuplicateThatDiffers) {
  use(5, kHour);
  sink_.trouble = EventSink::Trouble{Error("marketplace_unavailable", "reset")};
  round(kHour + kHourMs + kMinute);
  sink_.trouble.reset();
  sink_.answer = {.kind = Kind::kDuplicate, .same = false};
  EXPECT_EQ(round(kHour + kHourMs + 2 * kMinute).given_up, 1U);
  EXPECT_EQ(books_.sums("tokens").accepted, 0);
}

TEST_F(HourOutboxTest, KnowsThatARefusedBatchWasNotTaken) {
  use(5, kHour);
  sink_.trouble = EventSink::Trouble{Error("marketplace_refused", "401"), true};
  round(kHour + kHourMs + kMinute);
  sink_.trouble.reset();
  sink_.answer = {.kind = Kind::kDuplicate, .same = true};
  EXPECT_EQ(round(kHour + kHourMs + 2 * kMinute).given_up, 1U);
}

TEST_F(HourOutboxTest, GivesWhatIsTooOldToALaterHour) {
  use(5, kHour);
  sink_.trouble = EventSink::Trouble{Error("marketplace_refused", "403"), true};
  round(kHour + kHourMs + kMinute);
  sink_.trouble.reset();
  sink_.sent.clear();
  // Over a day later, with nothing in between: the old event is given up, and its hour's amount waits for the next
  // seal.
  EXPECT_EQ(outbox_.drain(sink_, kHour + 24 * kHourMs).given_up, 1U);
  EXPECT_TRUE(sink_.sent.empty());
  EXPECT_EQ(round(kHour + 24 * kHourMs).accepted, 1U);
  EXPECT_EQ(sink_.sent.at(0).quantity, 5);
  EXPECT_GT(sink_.sent.at(0).hour, kHour);
}

class LookUp : public HourOutboxTest {
 protected:
  /// Three events of one day whose fate is unknown: 5, 7 and 11.
  LookUp() {
    sink_.trouble = EventSink::Trouble{Error("marketplace_unavailable", "reset")};
    for (const int hour : {0, 1, 2}) {
      use(hour == 0 ? 5 : hour == 1 ? 7 : 11, kHour + hour * kHourMs);
      round(kHour + (hour + 1) * kHourMs + kMinute);
    }
    sink_.trouble.reset();
    sink_.sent.clear();
  }
  HourOutbox::Round decide(UnixMs after_ms = 50 * kHourMs) { return outbox_.drain(sink_, kHour + after_ms); }
};

TEST_F(LookUp, WaitsUntilTheBooksAreComplete) {
  EXPECT_EQ(decide(49 * kHourMs).waiting, 3U);
  EXPECT_TRUE(sink_.sent.empty());
}

TEST_F(LookUp, TakesNothingForTakenThatIsNotInTheBooks) {
  EXPECT_EQ(decide().given_up, 3U);
}

TEST_F(LookUp, FindsWhichWereTaken) {
  sink_.found = {.quantity = 16, .count = 2};
  const auto got = decide();
  EXPECT_EQ(got.accepted, 2U);
  EXPECT_EQ(got.given_up, 1U);
  EXPECT_EQ(books_.sums("tokens").accepted, 16);
}

TEST_F(LookUp, DecidesNothingWhereTheBooksDoNotFit) {
  sink_.found = {.quantity = 100, .count = 1};
  const auto got = decide();
  EXPECT_EQ(got.accepted + got.given_up, 0U);
  EXPECT_EQ(got.waiting, 3U);
  EXPECT_TRUE(got.trouble);
  sink_.found = {.quantity = 12, .count = 1};
  EXPECT_EQ(decide().waiting, 3U);
  EXPECT_EQ(books_.sums("tokens").pending, 23);
}

TEST_F(LookUp, WaitsForBooksThatCannotBeRead) {
  sink_.unreadable = true;
  EXPECT_EQ(decide().waiting, 3U);
  sink_.unreadable = false;
  EXPECT_EQ(decide().given_up, 3U);
}

TEST_F(HourOutboxTest, OnlyAnInactiveSubscriptionSuspends) {
  use(5, kHour);
  for (const auto kind : {Kind::kNotNow, Kind::kUnclear, Kind::kRefused}) {
    sink_.answer = {.kind = kind};
    const auto got = round(kHour + kHourMs + kMinute);
    EXPECT_FALSE(got.inactive);
    EXPECT_EQ(got.waiting, 1U);
  }
  sink_.answer = {.kind = Kind::kInactive};
  const auto got = round(kHour + kHourMs + kMinute);
  ASSERT_TRUE(got.inactive);
  EXPECT_EQ(got.inactive->reason, "subscription_inactive");
  sink_.answer = {.kind = Kind::kAccepted};
  EXPECT_EQ(round(kHour + kHourMs + kMinute).accepted, 1U);
}

TEST_F(HourOutboxTest, BillsADimensionFromWhenItWasNamed) {
  use(5, kHour);
  LedgerBooks later(db_, "other", {"tokens"});
  use(3, kHour + 1);
  EXPECT_EQ(later.sums("tokens").owed, 3);
  LedgerBooks again(db_, "other", {"tokens"});
  EXPECT_EQ(again.sums("tokens").owed, 3);
  EXPECT_EQ(books_.sums("tokens").owed, 8);
}

TEST_F(HourOutboxTest, CarriesWhatIsLeftOfAUnit) {
  LedgerBooks gigabyte_books(db_, "res", {"gb_transferred"});
  HourOutbox gigabytes(gigabyte_books, {"gb_transferred"});
  const auto transfer = [&](UnixMs time) {
    const std::vector<LedgerEntry> one = {{.request_id = "r", .subject = "k", .time = time, .bytes = 600'000'000}};
    ledger_.apply("log", seq_++, one);
  };
  for (int i = 0; i < 5; ++i) transfer(kHour + i * kHourMs);
  gigabytes.seal(kHour + 5 * kHourMs + kMinute);
  EXPECT_EQ(gigabytes.drain(sink_, kHour + 5 * kHourMs + kMinute).accepted, 3U);
  EXPECT_EQ(gigabyte_books.sums("gb_transferred").accepted, 3);
}

TEST_F(HourOutboxTest, HoldsAnEventOfTheFutureBack) {
  use(5, kHour + 5 * kHourMs);
  outbox_.seal(kHour + 6 * kHourMs + kMinute);
  EXPECT_EQ(outbox_.drain(sink_, kHour).accepted, 0U);
  EXPECT_TRUE(sink_.sent.empty());
  EXPECT_EQ(outbox_.drain(sink_, kHour + 6 * kHourMs).accepted, 1U);
}

TEST_F(HourOutboxTest, BelievesNoAnswerOfAnotherLength) {
  class Short final : public EventSink {
   public:
    std::expected<std::vector<EventAnswer>, Trouble> send(std::span<const HourEvent>) override {
      return std::vector<EventAnswer>{};
    }
    EventSum submitted(const std::string&, UnixMs) override { return {}; }
  } sink;
  use(5, kHour);
  outbox_.seal(kHour + kHourMs + kMinute);
  const auto got = outbox_.drain(sink, kHour + kHourMs + kMinute);
  EXPECT_EQ(got.waiting, 1U);
  EXPECT_TRUE(got.trouble);
}

}  // namespace
}  // namespace tb::meter
