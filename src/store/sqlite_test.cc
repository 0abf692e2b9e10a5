// The embedded backend through the suite of all backends, and what only it promises.
#include "store/open.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "sql/sqlite.h"
#include "store/store_contract_test.h"

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

}  // namespace
}  // namespace tb::store
