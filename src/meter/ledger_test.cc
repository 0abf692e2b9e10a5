#include "meter/ledger.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "sql/sqlite.h"

namespace tb::meter {
namespace {

using testing::ElementsAre;

constexpr UnixMs kHour = 1'795'651'200'000;  // 2026-11-26T00:00:00Z

LedgerEntry entry(std::int64_t input, std::int64_t output, UnixMs time = kHour + 1000, std::string id = "r") {
  return {.request_id = std::move(id),
          .subject = "k",
          .time = time,
          .served = true,
          .usage = {.input_tokens = input, .output_tokens = output},
          .bytes = 100};
}

class LedgerTest : public testing::Test {
 protected:
  LedgerDb db_{sql::open_sqlite(":memory:")};
  Ledger ledger_{db_};

  void apply(std::int64_t first, const std::vector<LedgerEntry>& entries, const std::string& origin = "log") {
    ledger_.apply(origin, first, entries);
  }
  std::vector<std::string> sealed() {
    ledger_.seal();
    std::vector<std::string> out;
    for (const auto& record : ledger_.unreported(1000)) {
      out.push_back(record.origin + " " + std::to_string(record.first_seq) + "-" + std::to_string(record.last_seq) +
                    " " + std::to_string(record.usage.at("requests")) + "r " +
                    std::to_string(record.usage.at("tokens")) + "t");
    }
    return out;
  }
};

TEST_F(LedgerTest, SumsARangeOfTheLog) {
  apply(0, {entry(1, 2), entry(3, 4)});
  apply(2, {entry(5, 6)});
  EXPECT_EQ(ledger_.last_seq("log"), 2);
  EXPECT_EQ(ledger_.last_seq("other"), std::nullopt);
  EXPECT_THAT(sealed(), ElementsAre("log 0-2 3r 21t"));
  EXPECT_EQ(ledger_.used("input_tokens", 0), 9);
  EXPECT_EQ(ledger_.used("bytes", 0), 300);
  EXPECT_EQ(ledger_.tokens_by_subject().at("k"), 21);
}

TEST_F(LedgerTest, AppliesEveryRecordOnce) {
  apply(0, {entry(1, 0), entry(1, 0), entry(1, 0)});
  apply(0, {entry(1, 0), entry(1, 0), entry(1, 0)});
  apply(1, {entry(1, 0), entry(1, 0), entry(1, 0)});
  EXPECT_EQ(ledger_.totals().requests, 4);
  EXPECT_THAT(sealed(), ElementsAre("log 0-3 4r 4t"));
  // Also after it was reported and a new range has begun.
  apply(2, {entry(1, 0), entry(1, 0), entry(1, 0)});
  EXPECT_EQ(ledger_.totals().requests, 5);
}

TEST_F(LedgerTest, CountsRefusedRequestsOnlyAsRecords) {
  LedgerEntry refused = entry(0, 0);
  refused.served = false;
  apply(0, {refused, entry(1, 1), refused});
  EXPECT_THAT(sealed(), ElementsAre("log 0-2 1r 2t"));
}

TEST_F(LedgerTest, EndsARangeAtTheHour) {
  apply(0, {entry(1, 0), entry(1, 0, kHour + api::kHourMs), entry(1, 0, kHour + 2 * api::kHourMs)});
  EXPECT_THAT(sealed(), ElementsAre("log 0-0 1r 1t", "log 1-1 1r 1t", "log 2-2 1r 1t"));
  for (const auto& record : ledger_.unreported(10)) {
    EXPECT_EQ(record.from / api::kHourMs, record.to / api::kHourMs);
    EXPECT_NO_THROW(api::UsageRecord::from_json(record.to_json()));
  }
}

TEST_F(LedgerTest, KeepsARangeWhenTheClockGoesBack) {
  apply(0, {entry(1, 0, kHour + 5000), entry(1, 0, kHour - 5000), entry(1, 0, kHour + 6000)});
  EXPECT_THAT(sealed(), ElementsAre("log 0-2 3r 3t"));
  const auto record = ledger_.unreported(1).at(0);
  EXPECT_EQ(record.from, kHour + 5000);
  EXPECT_EQ(record.to, kHour + 6000);
}

TEST_F(LedgerTest, EndsARangeAtAnotherLogAndAtAGap) {
  apply(0, {entry(1, 0)});
  apply(5, {entry(1, 0)});
  apply(0, {entry(1, 0)}, "new");
  EXPECT_THAT(sealed(), ElementsAre("log 0-0 1r 1t", "log 5-5 1r 1t", "new 0-0 1r 1t"));
}

TEST_F(LedgerTest, ReportsNothingTwiceAndKeepsWhatWasNotReported) {
  apply(0, {entry(1, 0)});
  ledger_.seal();
  apply(1, {entry(1, 0)});
  ledger_.seal();
  apply(2, {entry(1, 0)});
  ledger_.seal();
  const auto records = ledger_.unreported(10);
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(ledger_.unreported(2).size(), 2U);
  ledger_.mark(std::span(records).subspan(0, 1), Ledger::Report::kReported);
  ledger_.mark(std::span(records).subspan(1, 1), Ledger::Report::kConflict);
  EXPECT_THAT(sealed(), ElementsAre("log 2-2 1r 1t"));
  EXPECT_EQ(ledger_.totals().conflicts, 1);
  EXPECT_EQ(ledger_.totals().unreported, 1);
}

TEST_F(LedgerTest, GivesWholeUnitsAndCarriesTheRest) {
  const auto units = [&] {
    ledger_.seal();
    const auto records = ledger_.unreported(1);
    ledger_.mark(records, Ledger::Report::kReported);
    return std::pair(records.at(0).usage.at("gb_transferred"), records.at(0).usage.at("gpu_minutes"));
  };
  LedgerEntry big = entry(0, 0);
  big.bytes = 1'700'000'000;
  apply(0, {big});
  ledger_.add_gpu_ms(kHour, 90'000);
  EXPECT_EQ(units(), std::pair(std::int64_t{1}, std::int64_t{1}));
  apply(1, {big});
  ledger_.add_gpu_ms(kHour, 90'000);
  ledger_.purge(kHour * 2);
  EXPECT_EQ(units(), std::pair(std::int64_t{2}, std::int64_t{2}));
  apply(2, {entry(0, 0)});
  EXPECT_EQ(units(), std::pair(std::int64_t{0}, std::int64_t{0}));
}

TEST_F(LedgerTest, PurgeKeepsThePlaceInEveryLog) {
  apply(0, {entry(1, 0)});
  ledger_.seal();
  apply(0, {entry(1, 0), entry(1, 0)}, "new");
  ledger_.seal();
  ledger_.mark(ledger_.unreported(10), Ledger::Report::kReported);
  ledger_.purge(kHour * 2);
  EXPECT_EQ(ledger_.last_seq("log"), 0);
  EXPECT_EQ(ledger_.last_seq("new"), 1);
}

TEST_F(LedgerTest, RemembersRequestsUnderWayUntilTheirRecord) {
  const std::vector<Underway> two = {{"a", "k", "/v1/x", "m", 10, 0}, {"b", "k", "/v1/x", "m", 20, 0}};
  ledger_.note_underway(two);
  const std::vector<Underway> more = {{"b", "k", "/v1/x", "m", 20, 7}};
  ledger_.note_underway(more);
  apply(0, {entry(1, 0, kHour, "a")});
  const auto left = ledger_.underway();
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(left[0].request_id, "b");
  EXPECT_EQ(left[0].output_tokens, 7);
  ledger_.forget_underway(std::vector<std::string>{"b"});
  EXPECT_TRUE(ledger_.underway().empty());
}

TEST_F(LedgerTest, CountsQuotasInTheirPeriods) {
  apply(0, {entry(5, 0, kHour - 1), entry(7, 0, kHour)});
  const Budgets::Quotas quotas = {{"tokens", {.limit = 1, .period = api::Quota::Period::kDay}},
                                  {"input_tokens", {.limit = 1, .period = api::Quota::Period::kTotal}}};
  const auto used = ledger_.used(quotas, kHour + 10);
  EXPECT_EQ(used.at("tokens"), 7);
  EXPECT_EQ(used.at("input_tokens"), 12);
}

TEST_F(LedgerTest, BoundsWhatOneEntryAndOneRecordSay) {
  LedgerEntry absurd = entry(std::int64_t{1} << 60, -5);
  absurd.bytes = ~std::uint64_t{0};
  apply(0, {absurd, absurd, absurd, absurd});
  ledger_.seal();
  for (const auto& record : ledger_.unreported(10)) EXPECT_NO_THROW(api::UsageRecord::from_json(record.to_json()));
}

TEST_F(LedgerTest, CountsEstimatesAndDisputes) {
  LedgerEntry one = entry(1, 1);
  one.usage.estimated = true;
  LedgerEntry two = entry(1, 1);
  two.usage.disputed = true;
  apply(0, {one, two, entry(1, 1)});
  EXPECT_EQ(ledger_.totals().estimated, 1);
  EXPECT_EQ(ledger_.totals().disputed, 1);
}

}  // namespace
}  // namespace tb::meter
