// The embedded backend through the suite of all backends, and what only it promises.
#include "store/open.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "sql/sqlite.h"
#include "store/billing_contract_test.h"

namespace tb::store {
namespace {

StoreUnderTest fresh_sqlite_store() {
  const std::string dir = testing::TempDir() + "tb-store-" + random_token(8);
  std::filesystem::create_directories(dir);
  const std::string path = dir + "/store.db";
  return {.store = open_sqlite_store(path),
          .open_again = [path] { return open_sqlite_store(path); },
          .open_with_clock = [path](Clock clock) { return open_sqlite_store(path, std::move(clock)); },
          .clean_up = [dir] { std::filesystem::remove_all(dir); }};
}

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreContract, testing::Values(StoreMaker(fresh_sqlite_store)));
INSTANTIATE_TEST_SUITE_P(Sqlite, StoreBilling, testing::Values(StoreMaker(fresh_sqlite_store)));

TEST(SqliteStore, EventsCannotBeChangedOrDeleted) {
  const std::string dir = testing::TempDir() + "tb-store-" + random_token(8);
  std::filesystem::create_directories(dir);
  open_sqlite_store(dir + "/store.db")->append_event({.type = "e", .tenant = "", .actor = "a", .subject = "s"});
  {
    const auto db = sql::open_sqlite(dir + "/store.db");
    EXPECT_THROW(db->execute("UPDATE event SET line = ''"), Error);
    EXPECT_THROW(db->execute("DELETE FROM event"), Error);
  }
  EXPECT_EQ(open_sqlite_store(dir + "/store.db")->list_events({}, -1, 10).size(), 1U);
  std::filesystem::remove_all(dir);
}

/// A database file with an asset, a contract on it and a second connection, for faults that only SQL can make.
class SqliteFaults : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(dir_);
    store_ = open_sqlite_store(path());
    store_->add_token({.token_id = "id", .hash = Bytes(32), .role = Role::kProvider, .tenant = "t1"}, event("token"));
    AssetRow asset;
    asset.view.tenant = "t1";
    asset.view.asset_id = "m";
    asset.view.metadata.sha256_ciphertext = std::string(64, 'a');
    asset.key = {.kek_id = "k", .wrapped = Bytes(40)};
    store_->register_asset(asset, event("asset"));
    api::Contract contract;
    contract.tenant = "t1";
    contract.contract_id = "c";
    contract.terms.consumer = "acme";
    contract.terms.asset_ids = {"m"};
    contract.terms.not_after = 4102444800000;
    store_->create_contract(contract, {}, event("contract"));
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string path() const { return dir_ + "/store.db"; }
  static Event event(const std::string& type) { return {.type = type, .tenant = "t1", .actor = "a", .subject = "s"}; }
  SeatOutcome take_seat(const std::string& lease_id) {
    return store_->take_seat({.tenant = "t1",
                              .contract_id = "c",
                              .policy_version = 1,
                              .lease_id = lease_id,
                              .asset_id = "m",
                              .hw_id = "h",
                              .client_version = "1",
                              .max_seats = 1000,
                              .expires_at = 2,
                              .seat_until = 3,
                              .jwk_thumbprint = {}},
                             1, event("license_released"));
  }

  const std::string dir_ = testing::TempDir() + "tb-store-" + random_token(8);
  std::unique_ptr<Store> store_;
};

// A key release without its event cannot happen: whatever part of the append fails, the seat is not taken.
TEST_F(SqliteFaults, NoSeatIsTakenWhoseEventCannotBeWritten) {
  while (store_->event_tree().size() < 255) store_->append_event(event("e"));
  for (const auto* fault : {"BEFORE INSERT ON event", "BEFORE UPDATE ON event_tree", "BEFORE INSERT ON event_node"}) {
    sql::open_sqlite(path())->execute(std::string("CREATE TRIGGER fault ") + fault +
                                      " BEGIN SELECT RAISE(ABORT, 'fault'); END");
    EXPECT_THROW(take_seat("l"), Error) << fault;
    EXPECT_TRUE(store_->list_leases("t1", "c", "", 10).empty()) << fault;
    EXPECT_EQ(store_->event_tree().size(), 255U) << fault;
    EXPECT_EQ(store_->list_events({}, -1, 1000).size(), 255U) << fault;
    sql::open_sqlite(path())->execute("DROP TRIGGER fault");
  }
  EXPECT_EQ(take_seat("l"), SeatOutcome::kGranted);
  EXPECT_EQ(store_->list_leases("t1", "c", "", 10).size(), 1U);
  EXPECT_EQ(store_->event_tree().size(), 256U);
}

/// As a database of schema 1 is once the steps have run: events, and tables for the tree with nothing in them.
void forget_the_tree(const std::string& path) {
  sql::open_sqlite(path)->execute(
      "DROP TRIGGER event_node_is_never_deleted; DELETE FROM event_node; DELETE FROM event_tree");
}

TEST_F(SqliteFaults, ATreeIsBuiltOverTheEventsOfAnOlderSchema) {
  while (store_->event_tree().size() < 300) store_->append_event(event("e"));
  const Digest root = store_->event_tree().root();
  const auto rows = store_->event_hashes(1, 0, 256);
  store_.reset();
  forget_the_tree(path());
  store_ = open_sqlite_store(path());
  EXPECT_EQ(store_->event_tree().root(), root);
  EXPECT_EQ(store_->event_hashes(1, 0, 256), rows);
  store_->append_event(event("e"));
  EXPECT_EQ(open_sqlite_store(path())->event_tree().size(), 301U);
}

TEST_F(SqliteFaults, NoTreeIsBuiltOverEventsThatLackOne) {
  store_.reset();
  forget_the_tree(path());
  sql::open_sqlite(path())->execute("DROP TRIGGER event_is_never_deleted; DELETE FROM event WHERE seq = 1");
  try {
    open_sqlite_store(path());
    FAIL() << "it opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "chain_broken");
    EXPECT_THAT(error.message, testing::HasSubstr("record 1 "));
  }
}

}  // namespace
}  // namespace tb::store
