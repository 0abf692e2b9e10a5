// From the first released schema to this one, with what was in it; and who may open which database.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <thread>

#include "base/crypto.h"
#include "base/fs.h"
#include "sql/postgres_server_test.h"
#include "sql/sqlite.h"
#include "store/open.h"
#include "store/schema.h"
#include "tlog/chain.h"

namespace tb::store {
namespace {

constexpr UnixMs kNow = 1800000000000;  ///< of the fixtures

/// One database of one backend.
struct Place {
  std::function<std::unique_ptr<sql::Connection>()> connect;
  std::function<std::unique_ptr<Store>()> open_store;
  std::int64_t newest_schema = 0;
  std::string fixture;
  std::function<void()> clean_up;
};

class MigrationTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "sqlite") {
      const std::string dir = testing::TempDir() + "tb-migration-" + random_token(8);
      std::filesystem::create_directories(dir);
      place_ = {.connect = [dir] { return sql::open_sqlite(dir + "/store.db"); },
                .open_store = [dir] { return open_sqlite_store(dir + "/store.db"); },
                .newest_schema = static_cast<std::int64_t>(kSqliteSteps.size()),
                .fixture = "001_sqlite.sql",
                .clean_up = [dir] { std::filesystem::remove_all(dir); }};
      return;
    }
    if (sql::PostgresServer::programs().empty()) GTEST_SKIP() << sql::PostgresServer::kMissing;
    auto& server = sql::shared_postgres_server();
    const std::string database = server.make_database();
    place_ = {.connect = [&server, database] { return sql::open_postgres(server.url(database)); },
              .open_store = [&server, database] { return open_postgres_store(server.url(database)); },
              .newest_schema = static_cast<std::int64_t>(kPostgresSteps.size()),
              .fixture = "001_postgres.sql",
              .clean_up = [] {}};
  }
  void TearDown() override {
    if (place_.clean_up) place_.clean_up();
  }

  void load_fixture() {
    const std::string path = std::string(TB_SOURCE_DIR) + "/src/store/fixtures/" + place_.fixture;
    const auto db = place_.connect();
    db->execute(value_or_throw(read_small_file(path)));
    ASSERT_EQ(place_.connect()->schema_version(), 1);
  }
  /// The number of events, whose chain and tree must verify.
  static std::size_t events(Store& store) {
    tlog::ChainHead head;
    tlog::Frontier tree;
    for (const auto& stored : store.list_events({}, -1, 1000)) {
      tlog::verify_record(head, stored.line);
      tree.append(head.prev);
    }
    EXPECT_EQ(store.event_tree().size(), head.records);
    EXPECT_EQ(store.event_tree().root(), tree.root());
    return head.records;
  }
  std::string opening() {
    try {
      place_.open_store();
    } catch (const Error& error) {
      return error.reason;
    }
    return "nothing";
  }
  Place place_;
};

INSTANTIATE_TEST_SUITE_P(Backends, MigrationTest, testing::Values("sqlite", "postgres"));

TEST_P(MigrationTest, WhatTheFirstSchemaHeldIsThereAndGoesOn) {
  load_fixture();
  const auto store = place_.open_store();
  EXPECT_EQ(place_.connect()->schema_version(), place_.newest_schema);
  const Digest hash = sha256("t1");
  EXPECT_EQ(store->find_token(hash, kNow)->token_id, "id-t1");
  EXPECT_EQ(store->find_own_key("identity")->key.wrapped, Bytes(40, 1));
  EXPECT_EQ(store->find_asset("t1", "m")->key.wrapped, Bytes(40, 7));
  EXPECT_FALSE(store->find_asset("t2", "gone").has_value());
  const auto row = store->find_contract("t1", "c");
  ASSERT_TRUE(row.has_value());
  EXPECT_EQ(row->contract.terms.consumer, "acme");
  EXPECT_EQ(row->pin->hw_id, "hw");
  EXPECT_TRUE(store->lease_serves("t1", "lease-1", "m", kNow));
  EXPECT_TRUE(store->use_nonce("t1", "c", Bytes(32, 5), kNow));
  EXPECT_EQ(events(*store), 8U);
  EXPECT_EQ(store->list_events_about("t1", "s", {}, 100).size(), 8U) << "old events are found by their subject, too";

  SeatRequest seat{.tenant = "t1",
                   .contract_id = "c",
                   .policy_version = row->contract.policy_version,
                   .lease_id = "lease-2",
                   .asset_id = "m",
                   .hw_id = "hw",
                   .client_version = "2",
                   .max_seats = 2,
                   .expires_at = kNow + 10,
                   .seat_until = kNow + 10,
                   .jwk_thumbprint = "thumb"};
  const Event event{.type = "released", .tenant = "t1", .actor = "test", .subject = "s"};
  EXPECT_EQ(store->take_seat(seat, kNow, event), SeatOutcome::kJwkReused) << "what has served before has served";
  seat.jwk_thumbprint = "other";
  EXPECT_EQ(store->take_seat(seat, kNow, event), SeatOutcome::kGranted);
  store->set_contract_state("t1", "c", api::ContractState::kRevoked, kNow, event);
  EXPECT_EQ(events(*store), 10U);
}

TEST_P(MigrationTest, NodesThatStartAtOnceMigrateOnce) {
  load_fixture();
  std::atomic<int> well{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const std::string reason = opening();
      EXPECT_EQ(reason, "nothing");
      if (reason == "nothing") ++well;
    });
  }
  threads.clear();
  EXPECT_EQ(well.load(), 4);
  EXPECT_EQ(place_.connect()->schema_version(), place_.newest_schema);
}

TEST_P(MigrationTest, NodesThatStartAtOnceOnAnEmptyDatabaseMakeItOnce) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { EXPECT_EQ(opening(), "nothing"); });
  threads.clear();
  EXPECT_EQ(place_.connect()->schema_version(), place_.newest_schema);
}

TEST_P(MigrationTest, ANewerDatabaseIsRefusedAndLeftAsItIs) {
  load_fixture();
  const auto db = place_.connect();
  {
    sql::Transaction transaction(*db);
    db->set_schema_version(place_.newest_schema + 1);
    transaction.commit();
  }
  EXPECT_EQ(opening(), "database_newer");
  EXPECT_EQ(db->schema_version(), place_.newest_schema + 1);
}

}  // namespace
}  // namespace tb::store
