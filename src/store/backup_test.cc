// Backup and restore between all backends: what is there before is there after, and what must not happen.
#include "store/backup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "base/crypto.h"
#include "base/fs.h"
#include "sql/postgres_server_test.h"
#include "sql/sqlite.h"
#include "store/open.h"
#include "store/schema.h"

namespace tb::store {
namespace {

constexpr UnixMs kNow = 1800000000000;  ///< of the fixtures

template <typename F>
std::string reason_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.reason;
  }
  return "nothing";
}

class BackupTest : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  struct Place {
    std::function<std::unique_ptr<sql::Connection>()> connect;
    std::function<std::unique_ptr<Store>()> open_store;
    std::string fixture;
  };
  void SetUp() override {
    std::filesystem::create_directories(dir_);
    const auto [from, to] = GetParam();
    if ((from == "postgres" || to == "postgres") && sql::PostgresServer::programs().empty()) {
      GTEST_SKIP() << sql::PostgresServer::kMissing;
    }
    from_ = make(from);
    to_ = make(to);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  Place make(const std::string& backend) const {
    if (backend == "sqlite") {
      const std::string path = dir_ + "/" + random_token(6) + ".db";
      return {.connect = [path] { return sql::open_sqlite(path); },
              .open_store = [path] { return open_sqlite_store(path); },
              .fixture = "001_sqlite.sql"};
    }
    auto& server = sql::shared_postgres_server();
    const std::string database = server.make_database();
    return {.connect = [&server, database] { return sql::open_postgres(server.url(database)); },
            .open_store = [&server, database] { return open_postgres_store(server.url(database)); },
            .fixture = "001_postgres.sql"};
  }
  static void load_fixture(const Place& place) {
    const std::string path = std::string(TB_SOURCE_DIR) + "/src/store/fixtures/" + place.fixture;
    place.connect()->execute(value_or_throw(read_small_file(path)));
  }
  static std::vector<std::string> lines(Store& store) {
    std::vector<std::string> out;
    for (std::int64_t after = -1;;) {
      const auto page = store.list_events({}, after, 1000);
      for (const auto& event : page) out.push_back(event.line);
      if (page.size() < 1000) return out;
      after = page.back().seq;
    }
  }
  static Event event(const std::string& type) { return {.type = type, .tenant = "", .actor = "test", .subject = "s"}; }

  const std::string dir_ = testing::TempDir() + "tb-backup-" + random_token(8);
  const std::string file_ = dir_ + "/backup";
  Place from_, to_;
};

INSTANTIATE_TEST_SUITE_P(Backends, BackupTest,
                         testing::Combine(testing::Values("sqlite", "postgres"), testing::Values("sqlite", "postgres")),
                         [](const auto& info) { return std::get<0>(info.param) + "_to_" + std::get<1>(info.param); });

TEST_P(BackupTest, EverythingComesBackAndGoesOn) {
  load_fixture(from_);
  std::vector<std::string> before;
  {
    const auto store = from_.open_store();
    // More than a page of rows.
    std::vector<std::jthread> threads;
    for (int t = 0; t < 12; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 50; ++i) store->append_event(event("e"));
      });
    }
    threads.clear();
    before = lines(*store);
  }
  const auto made = back_up(*from_.connect(), file_);
  EXPECT_EQ(made.events, 608);
  EXPECT_GT(made.rows, 608 + 10);
  struct stat info{};
  ASSERT_EQ(stat(file_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);

  const auto restored = restore(*to_.connect(), file_, false);
  EXPECT_EQ(restored.rows, made.rows);
  EXPECT_EQ(restored.head, made.head);
  EXPECT_EQ(restored.events, made.events);
  const auto store = to_.open_store();
  EXPECT_EQ(lines(*store), before);
  EXPECT_EQ(store->find_own_key("identity")->key.wrapped, Bytes(40, 1));
  EXPECT_EQ(store->find_asset("t1", "m")->key.wrapped, Bytes(40, 7));
  EXPECT_EQ(store->find_contract("t1", "c")->pin->hw_id, "hw");
  EXPECT_TRUE(store->lease_serves("t1", "lease-1", "m", kNow));
  EXPECT_TRUE(store->use_nonce("t1", "c", Bytes(32, 5), kNow));
  EXPECT_EQ(back_up(*to_.connect(), file_ + "2").rows, made.rows - 1) << "all but the nonce";
  EXPECT_EQ(reason_of([&] { to_.connect()->execute("DELETE FROM event"); }), "database_failed") << "still append only";
}

TEST_P(BackupTest, WhatMayHaveBeenBilledSinceIsNotBilledAgain) {
  load_fixture(from_);
  const BillingPlace place{.tenant = "t1", .contract_id = "b", .resource = "res", .plan = "gold"};
  const UnixMs hour = kNow / api::kHourMs * api::kHourMs;
  {
    const auto store = from_.open_store();
    auto contract = store->find_contract("t1", "c")->contract;
    contract.contract_id = "b";
    contract.terms.marketplace =
        value_or_throw(Json::parse(R"({"resource_id":"res","plan_id":"gold","dimensions":["tokens"]})"));
    store->create_contract(contract, {}, event("contract"));
    from_.connect()->execute(
        "INSERT INTO usage_sum (tenant, contract_id, dimension, hour, asset_id, quantity) VALUES ('t1', 'b', 'tokens', "
        "1000000, 'm', 30)");
    const auto turn = store->take_turn("marketplace", "one", kNow, kNow + 1);
    store->add_billing_events(*turn, place,
                              {{.dimension = "tokens", .hour = hour - api::kHourMs, .quantity = 12},
                               {.dimension = "tokens", .hour = hour, .quantity = 8}});
    store->set_billing_events(*turn, place, {{.dimension = "tokens", .hour = hour - api::kHourMs}},
                              BillingState::kAccepted, "");
    ASSERT_EQ(store->billing_sums(place, "tokens").owed, 30);
  }
  back_up(*from_.connect(), file_);
  restore(*to_.connect(), file_, false);
  const auto store = to_.open_store();
  const auto sums = store->billing_sums(place, "tokens");
  EXPECT_EQ(sums.owed, 20) << "what was in no event is not owed any more";
  EXPECT_EQ(sums.accepted, 12);
  EXPECT_EQ(sums.pending, 8);
  ASSERT_EQ(store->waiting_billing_events(place).size(), 1U);
  EXPECT_TRUE(store->waiting_billing_events(place)[0].fate_unknown);
}

TEST_P(BackupTest, NothingIsReplacedUnlessTold) {
  load_fixture(from_);
  back_up(*from_.connect(), file_);
  EXPECT_EQ(reason_of([&] { back_up(*from_.connect(), file_); }), "output_exists");
  {
    to_.open_store()->append_event(event("mine"));
  }
  EXPECT_EQ(reason_of([&] { restore(*to_.connect(), file_, false); }), "database_not_empty");
  EXPECT_EQ(lines(*to_.open_store()).size(), 1U);
  restore(*to_.connect(), file_, true);
  EXPECT_EQ(lines(*to_.open_store()).size(), 8U);
  restore(*to_.connect(), file_, true);
  EXPECT_EQ(lines(*to_.open_store()).size(), 8U);
}

TEST_P(BackupTest, ALogThatWasChangedIsRefusedAndNothingIsTouched) {
  load_fixture(from_);
  back_up(*from_.connect(), file_);
  {
    const auto db = sql::open_sqlite(file_, {.use = sql::SqliteUse::kNewFile});
    db->execute("DROP TRIGGER event_is_never_changed; UPDATE event SET line = replace(line, 'sset', 'SSET')");
  }
  {
    to_.open_store()->append_event(event("mine"));
  }
  EXPECT_EQ(reason_of([&] { restore(*to_.connect(), file_, true); }), "chain_broken");
  EXPECT_EQ(lines(*to_.open_store()).size(), 1U);
}

TEST_P(BackupTest, WhatIsNoBackupOrTooNewIsRefused) {
  load_fixture(from_);
  EXPECT_EQ(reason_of([&] { restore(*to_.connect(), dir_ + "/none", false); }), "file_not_found");
  std::ofstream(file_) << std::string(5000, 'x');
  EXPECT_EQ(reason_of([&] { restore(*to_.connect(), file_, false); }), "backup_malformed");
  std::filesystem::remove(file_);
  {
    sql::open_sqlite(file_)->execute("CREATE TABLE event (x)");
  }
  EXPECT_EQ(reason_of([&] { restore(*to_.connect(), file_, false); }), "backup_malformed");
  std::filesystem::remove(file_);
  back_up(*from_.connect(), file_);
  {
    sql::open_sqlite(file_, {.use = sql::SqliteUse::kNewFile})->set_schema_version(99);
  }
  EXPECT_EQ(reason_of([&] { restore(*to_.connect(), file_, false); }), "database_newer");
  std::filesystem::resize_file(file_, 20000);
  EXPECT_EQ(reason_of([&] { restore(*to_.connect(), file_, false); }), "backup_malformed");
  EXPECT_EQ(to_.connect()->schema_version(), 0);
  EXPECT_EQ(reason_of([&] { back_up(*to_.connect(), file_ + "2"); }), "not_found");
  EXPECT_FALSE(std::filesystem::exists(file_ + "2"));
}

TEST_P(BackupTest, ABackupIsOneMomentWhileOthersWrite) {
  load_fixture(from_);
  const auto store = from_.open_store();
  std::atomic<bool> end{false};
  std::jthread writer([&] {
    // Each change is one event and one token: a moment has as many of both as before.
    for (int i = 0; !end; ++i) {
      const Digest hash = sha256(std::to_string(i));
      store->add_token({.token_id = "n" + std::to_string(i),
                        .hash = {hash.begin(), hash.end()},
                        .role = Role::kAuditor,
                        .tenant = {},
                        .created_at = kNow,
                        .expires_at = {}},
                       event("token_created"));
    }
  });
  for (int round = 0; round < 5; ++round) {
    std::filesystem::remove(file_);
    const auto made = back_up(*from_.connect(), file_);
    const auto db = sql::open_sqlite(file_, {.use = sql::SqliteUse::kReadOnly});
    auto tokens = db->prepare("SELECT count(*) FROM token WHERE token_id LIKE 'n%'");
    tokens.step();
    EXPECT_EQ(tokens.integer(0), made.events - 8);
  }
  end = true;
  writer.join();
}

}  // namespace
}  // namespace tb::store
