// What the stores rely on: whole transactions, one writer, forward migrations, errors with the right code.
#include "sql/sqlite.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "base/crypto.h"
#include "base/error.h"
#include "sql/migrate.h"

namespace tb::sql {
namespace {

class SqliteTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(dir_); }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string path() const { return dir_ + "/test.db"; }
  const std::string dir_ = testing::TempDir() + "tb-sqlite-" + random_token(8);
};

constexpr std::array<std::string_view, 2> kSteps = {
    "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL, bytes BLOB, note TEXT) STRICT;",
    "CREATE TABLE part (item INTEGER NOT NULL REFERENCES item(id)) STRICT;",
};

template <typename F>
std::string reason_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.reason;
  }
  return "nothing";
}

TEST_F(SqliteTest, ValuesComeBackAsTheyWere) {
  const auto db = open_sqlite(path());
  migrate(*db, kSteps);
  const Bytes bytes = {0, 1, 255};
  const std::string name("a'b");
  EXPECT_EQ(db->prepare("INSERT INTO item VALUES (?,?,?,?)")
                .bind(std::int64_t{1} << 60)
                .bind(name)
                .bind(ByteView(bytes))
                .bind(std::optional<std::string>())
                .run(),
            1);
  auto row = db->prepare("SELECT id, name, bytes, note FROM item");
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.integer(0), std::int64_t{1} << 60);
  EXPECT_EQ(row.text(1), name);
  EXPECT_EQ(row.blob(2), bytes);
  EXPECT_FALSE(row.optional_text(3).has_value());
  EXPECT_FALSE(row.step());
}

TEST_F(SqliteTest, TextHasNoNul) {
  const auto db = open_sqlite(path());
  auto statement = db->prepare("SELECT ?");
  EXPECT_EQ(reason_of([&] { statement.bind(std::string("a\0b", 3)); }), "field_invalid");
}

TEST_F(SqliteTest, FileIsForItsOwnerOnly) {
  const auto db = open_sqlite(path());
  migrate(*db, kSteps);
  for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
    struct stat info{};
    ASSERT_EQ(stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600U) << entry.path();
  }
}

TEST_F(SqliteTest, MigrationsGoForwardOnlyAndRunOnce) {
  {
    const auto db = open_sqlite(path());
    migrate(*db, std::span(kSteps).first(1));
    EXPECT_EQ(db->schema_version(), 1);
    migrate(*db, kSteps);
    migrate(*db, kSteps);
    EXPECT_EQ(db->schema_version(), 2);
  }
  const auto db = open_sqlite(path());
  EXPECT_EQ(reason_of([&] { migrate(*db, std::span(kSteps).first(1)); }), "database_newer");
  EXPECT_EQ(db->schema_version(), 2);
}

TEST_F(SqliteTest, AFailedStepLeavesTheVersionBefore) {
  const auto db = open_sqlite(path());
  const std::array<std::string_view, 2> steps = {kSteps[0], "CREATE TABLE other (x INTEGER); THIS IS NO SQL;"};
  EXPECT_EQ(reason_of([&] { migrate(*db, steps); }), "database_failed");
  EXPECT_EQ(db->schema_version(), 1);
  EXPECT_EQ(reason_of([&] { db->prepare("SELECT * FROM other"); }), "database_failed");
}

TEST_F(SqliteTest, TransactionsRollBackUnlessCommitted) {
  const auto db = open_sqlite(path());
  migrate(*db, kSteps);
  {
    Transaction transaction(*db);
    db->execute("INSERT INTO item VALUES (1,'a',NULL,NULL)");
  }
  auto count = db->prepare("SELECT count(*) FROM item");
  count.step();
  EXPECT_EQ(count.integer(0), 0);
}

TEST_F(SqliteTest, ForeignKeysHold) {
  const auto db = open_sqlite(path());
  migrate(*db, kSteps);
  EXPECT_EQ(reason_of([&] { db->execute("INSERT INTO part VALUES (99)"); }), "database_failed");
}

TEST_F(SqliteTest, ASecondWriterIsToldThatTheDatabaseIsBusy) {
  const auto first = open_sqlite(path());
  migrate(*first, kSteps);
  const auto second = open_sqlite(path(), {.busy_timeout_ms = 1});
  const Transaction held(*first);
  EXPECT_EQ(reason_of([&] { const Transaction wanted(*second); }), "database_busy");
  EXPECT_TRUE(reason_info("database_busy").retryable);
}

TEST_F(SqliteTest, AFullDiskIsExhaustedAndLosesNothing) {
  const auto db = open_sqlite(path(), {.max_pages = 12});
  migrate(*db, kSteps);
  db->execute("INSERT INTO item VALUES (1,'kept',NULL,NULL)");
  EXPECT_EQ(reason_of([&] {
              Transaction transaction(*db);
              const Bytes big(200000);
              db->prepare("INSERT INTO item VALUES (2,'big',?,NULL)").bind(ByteView(big)).run();
              transaction.commit();
            }),
            "disk_full");
  auto count = db->prepare("SELECT count(*) FROM item");
  count.step();
  EXPECT_EQ(count.integer(0), 1);
}

TEST_F(SqliteTest, OpenFailuresAreErrors) {
  EXPECT_EQ(reason_of([&] { open_sqlite(dir_ + "/no/such/dir.db"); }), "file_not_found");
  std::filesystem::create_symlink("/dev/null", dir_ + "/link.db");
  EXPECT_NE(reason_of([&] { open_sqlite(dir_ + "/link.db"); }), "nothing");
}

/// Not a test: the other process of the next one, which opens and closes the database that TB_SQLITE_PEER names.
TEST(SqlitePeer, DISABLED_OpensAndCloses) {
  const char* path = getenv("TB_SQLITE_PEER");
  ASSERT_NE(path, nullptr);
  const auto db = open_sqlite(path);
  EXPECT_TRUE(db->prepare("SELECT 1 FROM item").step());
}

void open_and_close_in_another_process(const std::string& path) {
  const pid_t child = fork();
  if (child == 0) {
    setenv("TB_SQLITE_PEER", path.c_str(), 1);
    execl("/proc/self/exe", "sql_test", "--gtest_also_run_disabled_tests",
          "--gtest_filter=SqlitePeer.DISABLED_OpensAndCloses", nullptr);
    _exit(127);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// A process that opens the database a second time must keep its locks: the last one out takes the log away, and what is
// written into a log that is gone is lost.
TEST_F(SqliteTest, AnotherProcessThatClosesTheDatabaseLeavesItsLog) {
  const auto first = open_sqlite(path());
  migrate(*first, kSteps);
  first->execute("INSERT INTO item VALUES (1,'before',NULL,NULL)");
  for (int round = 0; round < 2; ++round) {
    const auto again = open_sqlite(path());
    open_and_close_in_another_process(path());
    EXPECT_TRUE(std::filesystem::exists(path() + "-wal")) << "round " << round;
  }
  first->execute("INSERT INTO item VALUES (2,'after',NULL,NULL)");
  const auto fresh = open_sqlite(path());
  auto count = fresh->prepare("SELECT count(*) FROM item");
  count.step();
  EXPECT_EQ(count.integer(0), 2);
}

}  // namespace
}  // namespace tb::sql
