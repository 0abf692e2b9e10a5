// Audit logs and usage, held against whatever backend the parameter makes. spec: wire 1.2
#include <thread>

#include "store/store_contract_test.h"

namespace tb::store {
namespace {

WitnessedLog log_of(const std::string& origin, std::uint64_t size, const std::string& lease_id = "l1") {
  WitnessedLog out;
  out.origin = origin;
  out.key.fill(7);
  out.lease_id = lease_id;
  out.size = size;
  out.root.fill(static_cast<std::uint8_t>(size));
  out.checkpoint = "checkpoint " + std::to_string(size);
  out.updated_at = 5;
  return out;
}

api::UsageRecord record_of(std::int64_t first, std::int64_t last, std::int64_t tokens, UnixMs at,
                           const std::string& origin = "o") {
  return {.id = api::usage_id(origin, first, last),
          .origin = origin,
          .first_seq = first,
          .last_seq = last,
          .from = at,
          .to = at,
          .usage = {{"tokens", tokens}, {"requests", last - first + 1}}};
}

api::UsageReport report_of(std::vector<api::UsageRecord> records, const std::string& lease_id = "l1") {
  return {.contract_id = "c", .lease_id = lease_id, .records = std::move(records)};
}

TEST_P(StoreContract, AnAuditLogMovesOnByCompareAndSwap) {
  add_asset_and_contract();
  store().take_seat(seat("l1"), kNow, event("released"));
  const auto again = under_test_.open_again();
  EXPECT_FALSE(store().find_audit_log("t1", "c", "o"));
  EXPECT_EQ(store().advance_audit_log("t1", "c", 0, log_of("o", 1), event("moved")), WitnessOutcome::kStale);
  EXPECT_EQ(store().advance_audit_log("t1", "c", {}, log_of("o", 3), event("first")), WitnessOutcome::kAdvanced);
  EXPECT_EQ(again->advance_audit_log("t1", "c", {}, log_of("o", 4), event("first")), WitnessOutcome::kStale);
  EXPECT_EQ(again->advance_audit_log("t1", "c", 2, log_of("o", 4), event("moved")), WitnessOutcome::kStale);
  auto next = log_of("o", 5);
  next.key.fill(9);
  EXPECT_EQ(again->advance_audit_log("t1", "c", 3, next, event("moved")), WitnessOutcome::kAdvanced);
  const auto found = store().find_audit_log("t1", "c", "o");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->size, 5U);
  EXPECT_EQ(found->root, next.root);
  EXPECT_EQ(found->checkpoint, "checkpoint 5");
  EXPECT_EQ(found->key, log_of("o", 1).key) << "the key stays that of the first checkpoint";
  EXPECT_FALSE(store().find_audit_log("t2", "c", "o"));
  EXPECT_EQ(event_types().back(), "moved");
  EXPECT_EQ(std::ranges::count(event_types(), "moved"), 1);
}

TEST_P(StoreContract, AnAuditLogBelongsToALeaseOfTheContract) {
  add_asset_and_contract();
  EXPECT_EQ(store().advance_audit_log("t1", "c", {}, log_of("o", 1), event("first")), WitnessOutcome::kUnknownLease);
  store().take_seat(seat("l1"), kNow, event("released"));
  EXPECT_EQ(store().advance_audit_log("t1", "c", {}, log_of("o", 1, "l2"), event("first")),
            WitnessOutcome::kUnknownLease);
  store().end_lease("t1", "c", "l1", api::LeaseState::kReleased, kNow, event("ended"));
  EXPECT_EQ(store().advance_audit_log("t1", "c", {}, log_of("p", 1), event("first")), WitnessOutcome::kAdvanced)
      << "the last checkpoint may come after the release";
  EXPECT_EQ(store().advance_audit_log("t1", "c", {}, log_of("o", 1), event("first")), WitnessOutcome::kAdvanced);
  const auto page = store().list_audit_logs("t1", "c", "", 1);
  ASSERT_EQ(page.size(), 1U);
  EXPECT_EQ(page[0].origin, "o");
  EXPECT_EQ(store().list_audit_logs("t1", "c", "o", 10).size(), 1U);
  EXPECT_TRUE(store().list_audit_logs("t2", "c", "", 10).empty());
}

TEST_P(StoreContract, UsageIsCountedOnce) {
  add_asset_and_contract();
  store().take_seat(seat("l1"), kNow, event("released"));
  const auto again = under_test_.open_again();
  const auto report = report_of({record_of(0, 9, 100, kNow), record_of(10, 19, 50, kNow)});
  EXPECT_EQ(store().append_usage("t1", report, kNow, event("")).counted, 2);
  const auto size = store().event_tree().size();
  const auto second = again->append_usage("t1", report, kNow, event(""));
  EXPECT_EQ(second.counted, 0);
  EXPECT_EQ(second.repeated, 2);
  EXPECT_TRUE(second.conflicts.empty());
  EXPECT_EQ(store().event_tree().size(), size) << "a repeat changes nothing";
  EXPECT_EQ(store().usage_since("t1", "c", "tokens", 0), 150);
  EXPECT_EQ(store().usage_since("t1", "c", "requests", 0), 20);
  EXPECT_EQ(store().usage_since("t1", "c", "bytes", 0), 0);
  EXPECT_EQ(store().usage_since("t2", "c", "tokens", 0), 0);
  EXPECT_EQ(store().usage_since("t1", "c", "tokens", kNow + api::kHourMs), 0);
  EXPECT_EQ(event_types().back(), "usage_reported");
}

TEST_P(StoreContract, UsageThatContradictsIsLeftOut) {
  add_asset_and_contract();
  store().take_seat(seat("l1"), kNow, event("released"));
  store().append_usage("t1", report_of({record_of(0, 9, 100, kNow)}), kNow, event(""));
  const auto other = record_of(0, 9, 1, kNow);
  const auto overlapping = record_of(5, 12, 1, kNow);
  const auto inside = record_of(3, 3, 1, kNow);
  const auto good = record_of(10, 12, 5, kNow);
  const auto out = store().append_usage("t1", report_of({other, overlapping, inside, good}), kNow, event(""));
  EXPECT_EQ(out.conflicts, (std::vector<std::string>{other.id, overlapping.id, inside.id}));
  EXPECT_EQ(out.counted, 1);
  EXPECT_EQ(store().usage_since("t1", "c", "tokens", 0), 105);
  EXPECT_EQ(std::ranges::count(event_types(), "usage_conflict"), 3);
  // The same range of another log is something else.
  EXPECT_EQ(store().append_usage("t1", report_of({record_of(0, 9, 1, kNow, "p")}), kNow, event("")).counted, 1);
}

TEST_P(StoreContract, UsageIsOfALeaseOfTheContract) {
  add_asset_and_contract();
  const auto report = report_of({record_of(0, 9, 100, kNow)});
  const auto size = store().event_tree().size();
  EXPECT_THROW(store().append_usage("t1", report, kNow, event("")), Error);
  EXPECT_EQ(store().event_tree().size(), size);
  store().take_seat(seat("l1"), kNow, event("released"));
  EXPECT_THROW(store().append_usage("t2", report, kNow, event("")), Error);
  EXPECT_EQ(store().append_usage("t1", report, kNow, event("")).counted, 1);
}

TEST_P(StoreContract, GapsAreToldAndCanBeFilled) {
  add_asset_and_contract();
  store().take_seat(seat("l1"), kNow, event("released"));
  store().append_usage("t1", report_of({record_of(0, 9, 1, kNow)}), kNow, event(""));
  const auto out = store().append_usage("t1", report_of({record_of(15, 19, 1, kNow), record_of(2, 2, 1, kNow, "p")}),
                                        kNow, event(""));
  ASSERT_EQ(out.gaps.size(), 2U);
  EXPECT_EQ(out.gaps[0].missing_records, 5);
  EXPECT_EQ(out.gaps[1].missing_records, 2);
  EXPECT_EQ(std::ranges::count(event_types(), "usage_gap"), 2);
  auto gaps = store().list_usage_gaps("t1", "c", 10);
  ASSERT_EQ(gaps.size(), 2U);
  EXPECT_EQ(gaps[0].origin, "o");
  EXPECT_EQ(gaps[0].missing_records, 5);
  EXPECT_TRUE(store().list_usage_gaps("t2", {}, 10).empty());
  EXPECT_TRUE(store().append_usage("t1", report_of({record_of(10, 14, 1, kNow)}), kNow, event("")).gaps.empty());
  gaps = store().list_usage_gaps({}, {}, 10);
  ASSERT_EQ(gaps.size(), 1U);
  EXPECT_EQ(gaps[0].origin, "p");
}

TEST_P(StoreContract, SumsComeByHourDayAndInAll) {
  add_asset_and_contract();
  store().take_seat(seat("l1"), kNow, event("released"));
  store().append_usage("t1",
                       report_of({record_of(0, 0, 1, kNow), record_of(1, 1, 2, kNow + 1000),
                                  record_of(2, 2, 4, kNow + api::kHourMs), record_of(3, 3, 8, kNow + api::kDayMs)}),
                       kNow, event(""));
  UsageQuery query{.dimension = "tokens"};
  const auto quantities = [&](std::int64_t bucket_ms) {
    query.bucket_ms = bucket_ms;
    std::vector<std::int64_t> out;
    for (const auto& sum : store().list_usage("t1", query, {}, 100)) out.push_back(sum.quantity);
    return out;
  };
  EXPECT_EQ(quantities(api::kHourMs), (std::vector<std::int64_t>{3, 4, 8}));
  EXPECT_EQ(quantities(api::kDayMs), (std::vector<std::int64_t>{7, 8}));
  EXPECT_EQ(quantities(0), (std::vector<std::int64_t>{15}));
  query.from = kNow + api::kHourMs;
  query.to = kNow + api::kDayMs;
  EXPECT_EQ(quantities(0), (std::vector<std::int64_t>{4}));
  query.asset_id = "other";
  EXPECT_TRUE(quantities(0).empty());
  EXPECT_TRUE(store().list_usage("t2", {}, {}, 100).empty());
  // Pages meet without a hole or a repeat.
  std::vector<UsageSum> all;
  const UsageQuery hourly{.bucket_ms = api::kHourMs};
  for (auto page = store().list_usage({}, hourly, {}, 2); !page.empty();
       page = store().list_usage({}, hourly, all.back(), 2)) {
    all.insert(all.end(), page.begin(), page.end());
  }
  ASSERT_EQ(all.size(), 6U);
  EXPECT_EQ(all[0].dimension, "requests");
  EXPECT_EQ(all[0].asset_id, "m");
  EXPECT_EQ(all[0].start, kNow);
}

TEST_P(StoreContract, ManyReportersCountEachRecordOnce) {
  add_asset_and_contract();
  store().take_seat(seat("l1"), kNow, event("released"));
  const auto again = under_test_.open_again();
  std::atomic<std::int64_t> counted{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Store& mine = t % 2 == 0 ? store() : *again;
      for (std::int64_t i = 0; i < 10; ++i) {
        counted += mine.append_usage("t1", report_of({record_of(i, i, 1, kNow)}), kNow, event("")).counted;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(counted.load(), 10);
  EXPECT_EQ(store().usage_since("t1", "c", "tokens", 0), 10);
}

}  // namespace
}  // namespace tb::store
