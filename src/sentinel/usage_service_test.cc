// From the audit log into the ledger and to the control plane, through crashes and faults.
#include "sentinel/usage_service.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/crypto.h"
#include "sentinel/audit_replay.h"
#include "sql/sqlite.h"

namespace tb::sentinel {
namespace {

AuditEntry entry(std::int64_t input, std::int64_t output, const std::string& id = "r") {
  return {.request_id = id,
          .subject = "k",
          .method = "POST",
          .path = "/v1/chat/completions",
          .req_bytes = 10,
          .resp_bytes = 20,
          .status = 200,
          .outcome = Outcome::kComplete,
          .usage = meter::TokenUsage{.input_tokens = input, .output_tokens = output}};
}

/// What one process of the sentinel has of it.
struct Process {
  explicit Process(const std::string& dir, std::size_t most_queued = 100'000)
      : usage({.ledger_path = dir + "/usage.db",
               .audit_dir = dir + "/audit",
               .contract_id = "c1",
               .report_ms = 3'600'000,
               .gather_ms = 5,
               .underway_ms = 20,
               .most_queued = most_queued},
              budgets, underway, metrics, obs::Log()),
        audit({.place = {.directory = dir + "/audit", .state_dir = dir, .frame = {"c1", "a1", true}},
               .on_durable = [this](const std::string& origin, std::uint64_t first,
                                    std::span<const AuditEntry> entries) { usage.take(origin, first, entries); }}) {}
  void start() {
    usage.start(audit, {.post = [this](const std::string& body, std::stop_token) { return post(body); },
                        .lease_id = [] { return std::string("lease_1"); },
                        .is_serving = [] { return true; },
                        .clock = unix_ms_now,
                        .marketplace = marketplace,
                        .resource = "res",
                        .dimensions = {"tokens"}});
  }
  meter::ReportAnswer post(const std::string& body) {
    const auto report = api::UsageReport::parse(body);
    if (status == 200) reported.insert(reported.end(), report.records.begin(), report.records.end());
    return {status, "{}"};
  }
  void write(AuditEntry one) {
    ASSERT_TRUE(audit.reserve());
    audit.append(std::move(one));
  }
  bool settles(std::int64_t tokens) {
    const std::int64_t give_up = boot_ms_now() + 60'000;
    while (boot_ms_now() < give_up) {
      const auto totals = usage.ledger().totals();
      if (totals.input_tokens + totals.output_tokens == tokens) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  obs::Metrics metrics;
  meter::Budgets budgets;
  UnderwayBook underway;
  int status = 200;
  std::vector<api::UsageRecord> reported;
  std::shared_ptr<meter::EventSink> marketplace;
  UsageService usage;
  AuditLog audit;
};

class UsageServiceTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(dir_); }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  const std::string dir_ = testing::TempDir() + "tb-usage-" + random_token(8);
};

TEST_F(UsageServiceTest, FollowsTheLogAndReportsAtTheEnd) {
  Process process(dir_);
  process.start();
  for (int i = 0; i < 100; ++i) process.write(entry(2, 3));
  ASSERT_TRUE(process.settles(500));
  process.usage.finish(30'000);
  ASSERT_EQ(process.reported.size(), 1U);
  EXPECT_EQ(process.reported[0].first_seq, 0);
  EXPECT_EQ(process.reported[0].last_seq, 99);
  EXPECT_EQ(process.reported[0].usage.at("tokens"), 500);
  EXPECT_EQ(process.reported[0].usage.at("requests"), 100);
}

TEST_F(UsageServiceTest, CountsWhatACrashTookFromTheLedger) {
  {
    // The log is written, the ledger never started: as a crash between the two leaves them.
    Process process(dir_);
    for (int i = 0; i < 50; ++i) process.write(entry(1, 1));
    ASSERT_TRUE(process.audit.flush(30'000));
  }
  Process process(dir_);
  process.start();
  process.write(entry(1, 1));
  EXPECT_TRUE(process.settles(102));
  process.usage.finish(30'000);
  std::int64_t requests = 0;
  for (const auto& record : process.reported) requests += record.usage.at("requests");
  EXPECT_EQ(requests, 51);
}

TEST_F(UsageServiceTest, CountsNothingTwiceOverManyStarts) {
  std::int64_t tokens = 0;
  for (int start = 0; start < 5; ++start) {
    Process process(dir_);
    process.start();
    for (int i = 0; i < 10; ++i) process.write(entry(1, start));
    tokens += 10 * (1 + start);
    ASSERT_TRUE(process.settles(tokens)) << start;
    process.usage.finish(0);
  }
}

TEST_F(UsageServiceTest, ReadsFromTheLogWhatDidNotFitIntoItsQueue) {
  Process process(dir_, 3);
  process.start();
  for (int i = 0; i < 200; ++i) process.write(entry(1, 0));
  EXPECT_TRUE(process.settles(200));
}

TEST_F(UsageServiceTest, KeepsReportsThatWereNotTaken) {
  Process process(dir_);
  process.status = 503;
  process.start();
  process.write(entry(1, 1));
  ASSERT_TRUE(process.settles(2));
  process.usage.finish(30'000);
  EXPECT_EQ(process.usage.ledger().totals().unreported, 1);
}

TEST_F(UsageServiceTest, BillsARequestThatACrashInterrupted) {
  {
    Process process(dir_);
    process.start();
    const auto note = process.underway.begin("lost", "k", "/v1/messages", "m", 40, boot_ms_now() - 1'000);
    note->output = 7;
    const auto ended = process.underway.begin("ended", "k", "/v1/messages", "m", 10, boot_ms_now() - 1'000);
    const std::int64_t give_up = boot_ms_now() + 60'000;
    while (process.usage.ledger().underway().size() < 2 && boot_ms_now() < give_up) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ASSERT_EQ(process.usage.ledger().underway().size(), 2U);
    process.underway.end(ended);
    process.write(entry(11, 1, "ended"));
    ASSERT_TRUE(process.settles(12));
    EXPECT_EQ(process.usage.ledger().underway().size(), 1U);
  }
  Process process(dir_);
  process.start();
  EXPECT_TRUE(process.settles(12 + 47));
  EXPECT_TRUE(process.usage.ledger().underway().empty());
  EXPECT_EQ(process.usage.ledger().totals().estimated, 1);
  // It is in the log, too, as a request that was aborted.
  std::vector<meter::LedgerEntry> log;
  replay_audit(dir_ + "/audit", 0, [&](std::uint64_t, std::span<const meter::LedgerEntry> some) {
    log.insert(log.end(), some.begin(), some.end());
  });
  ASSERT_FALSE(log.empty());
  EXPECT_EQ(log.back().request_id, "lost");
}

TEST_F(UsageServiceTest, RemembersBudgetsOverAStart) {
  {
    Process process(dir_);
    process.start();
    process.write(entry(90, 0));
    ASSERT_TRUE(process.settles(90));
  }
  Process process(dir_);
  process.start();
  const meter::TokenWant want{.subject = "k", .limits = {.per_minute = std::nullopt, .total = 100}, .input = 11};
  EXPECT_FALSE(process.budgets.reserve(want, boot_ms_now(), unix_ms_now()));
}

TEST_F(UsageServiceTest, HoldsTheContractsQuotas) {
  Process process(dir_);
  process.start();
  process.write(entry(90, 0));
  ASSERT_TRUE(process.settles(90));
  process.usage.take_quotas(*Json::parse(R"({"tokens":{"limit":100,"period":"total"}})"));
  const meter::TokenWant want{.subject = "other", .limits = {}, .input = 11};
  const auto refused = process.budgets.reserve(want, boot_ms_now(), unix_ms_now());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().why, meter::TokenRefusal::Why::kQuota);
  process.usage.take_quotas(*Json::parse(R"({"nonsense":1})"));
  EXPECT_TRUE(process.budgets.reserve(want, boot_ms_now(), unix_ms_now()));
}

class OneAnswer final : public meter::EventSink {
 public:
  std::expected<std::vector<meter::EventAnswer>, Trouble> send(std::span<const meter::HourEvent> events) override {
    sent += events.size();
    return std::vector<meter::EventAnswer>(events.size(), {.kind = kind, .same = false, .detail = ""});
  }
  meter::EventSum submitted(const std::string&, UnixMs) override { return {}; }
  meter::EventAnswer::Kind kind = meter::EventAnswer::Kind::kAccepted;
  std::size_t sent = 0;
};

TEST_F(UsageServiceTest, OnlyAnInactiveSubscriptionEndsTheUseOfTheModel) {
  using Kind = meter::EventAnswer::Kind;
  int number = 0;
  struct Case {
    Kind kind;
    std::int64_t seats;  ///< 0: no lease has said
    bool by_control_plane;
    std::size_t sent;
    bool suspends;
  };
  for (const auto& [kind, seats, by_control_plane, sent, suspends] :
       std::vector<Case>{{Kind::kInactive, 1, false, 1, true},
                         {Kind::kRefused, 1, false, 1, false},
                         {Kind::kUnclear, 1, false, 1, false},
                         {Kind::kInactive, 2, false, 0, false},
                         {Kind::kInactive, 1, true, 0, false},
                         {Kind::kInactive, 2, true, 0, false},
                         {Kind::kInactive, 0, false, 0, false}}) {
    const std::string dir = dir_ + std::to_string(++number);
    std::filesystem::create_directories(dir);
    auto sink = std::make_shared<OneAnswer>();
    sink->kind = kind;
    {
      Process process(dir);
      process.marketplace = sink;
      process.start();
      if (seats > 0) process.usage.take_reporting(seats, by_control_plane);
      // An hour that has ended: as if this process had served then.
      process.usage.ledger().apply("earlier", 0,
                                   std::vector<meter::LedgerEntry>{{.request_id = "r",
                                                                    .subject = "k",
                                                                    .time = unix_ms_now() - 2 * api::kHourMs,
                                                                    .served = true,
                                                                    .usage = {.input_tokens = 5}}});
      process.usage.finish(30'000);
      EXPECT_EQ(sink->sent, sent);
      if (suspends) {
        EXPECT_THROW(process.usage.check(), Error);
      } else {
        EXPECT_NO_THROW(process.usage.check());
      }
    }
    std::filesystem::remove_all(dir);
  }
}

TEST(AuditReplay, SaysOfALineWhatItSaysOfTheEntry) {
  for (AuditEntry one : {entry(3, 4), entry(0, 0)}) {
    for (const int status : {0, 200, 402, 500}) {
      for (const bool counted : {true, false}) {
        one.status = status;
        if (!counted) one.usage.reset();
        std::string line;
        AuditRecordWriter().append(line, {"c1", "a1", true}, one);
        const auto direct = ledger_entry(one), read = ledger_entry(line + "}");
        EXPECT_EQ(read.served, direct.served) << line;
        EXPECT_EQ(read.bytes, direct.bytes);
        EXPECT_EQ(read.usage.input_tokens, direct.usage.input_tokens);
        EXPECT_EQ(read.usage.output_tokens, direct.usage.output_tokens);
        EXPECT_EQ(read.subject, direct.subject);
        EXPECT_EQ(read.request_id, direct.request_id);
      }
    }
  }
  EXPECT_FALSE(ledger_entry(R"({"ts":"2026-11-26T00:00:00.000Z","event":"repaired","bytes":5})").served);
  EXPECT_THROW(ledger_entry(std::string_view("[]")), Error);
  EXPECT_THROW(ledger_entry(std::string_view("{")), Error);
}

}  // namespace
}  // namespace tb::sentinel
