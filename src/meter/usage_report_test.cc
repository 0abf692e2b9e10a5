#include "meter/usage_report.h"

#include <gtest/gtest.h>

#include "sql/sqlite.h"

namespace tb::meter {
namespace {

class UsageReportTest : public testing::Test {
 protected:
  UsageReportTest() {
    for (std::int64_t seq = 0; seq < 10; ++seq) {
      const std::vector<LedgerEntry> one = {
          {.request_id = "r", .subject = "k", .time = 1'795'651'200'000 + seq, .served = true}};
      ledger_.apply("log", seq, one);
      ledger_.seal();
    }
  }
  ReportRound report(const std::function<ReportAnswer(const api::UsageReport&)>& answer) {
    return report_usage(ledger_, "c1", "lease_1", [&](const std::string& body) {
      ++posts_;
      return answer(api::UsageReport::parse(body));
    });
  }
  LedgerDb db_{sql::open_sqlite(":memory:")};
  Ledger ledger_{db_};
  int posts_ = 0;
};

TEST_F(UsageReportTest, ReportsAllInOneAndOnce) {
  const auto round = report([](const api::UsageReport& report) {
    EXPECT_EQ(report.contract_id, "c1");
    EXPECT_EQ(report.lease_id, "lease_1");
    EXPECT_EQ(report.records.size(), 10U);
    return ReportAnswer{200, "{}"};
  });
  EXPECT_EQ(round.reported, 10U);
  EXPECT_FALSE(round.trouble);
  EXPECT_EQ(report([](const auto&) { return ReportAnswer{200, "{}"}; }).reported, 0U);
  EXPECT_EQ(posts_, 1);
}

TEST_F(UsageReportTest, SendsAgainWhatWasNotAnswered) {
  EXPECT_TRUE(report([](const auto&) -> ReportAnswer { throw Error("network_unreachable", "reset"); }).trouble);
  for (const int status : {401, 403, 408, 429, 500, 503}) {
    const auto round = report([&](const auto&) { return ReportAnswer{status, ""}; });
    EXPECT_TRUE(round.trouble) << status;
    EXPECT_EQ(round.refused, 0U);
  }
  EXPECT_EQ(report([](const auto&) { return ReportAnswer{200, "{}"}; }).reported, 10U);
}

TEST_F(UsageReportTest, LeavesRecordsThatContradictWhatWasCounted) {
  const auto round = report([](const api::UsageReport& report) {
    return ReportAnswer{409, R"({"code":"usage_conflict","conflicts":[")" + report.records.at(3).id + R"("]})"};
  });
  EXPECT_EQ(round.reported, 9U);
  EXPECT_EQ(round.conflicts, 1U);
  EXPECT_EQ(ledger_.totals().conflicts, 1);
  EXPECT_EQ(ledger_.totals().unreported, 0);
}

TEST_F(UsageReportTest, TakesNo409WithoutItsList) {
  for (const auto* body : {"", "{}", R"({"conflicts":[7]})", R"({"conflicts":"x"})"}) {
    EXPECT_TRUE(report([&](const auto&) { return ReportAnswer{409, body}; }).trouble) << body;
  }
  EXPECT_EQ(ledger_.totals().unreported, 10);
}

TEST_F(UsageReportTest, FindsTheRecordThatCannotBeTaken) {
  const std::string bad = ledger_.unreported(10).at(6).id;
  const auto round = report([&](const api::UsageReport& report) {
    for (const auto& record : report.records) {
      if (record.id == bad) return ReportAnswer{400, ""};
    }
    return ReportAnswer{200, "{}"};
  });
  EXPECT_EQ(round.reported, 9U);
  EXPECT_EQ(round.refused, 1U);
  EXPECT_EQ(ledger_.totals().refused, 1);
}

}  // namespace
}  // namespace tb::meter
