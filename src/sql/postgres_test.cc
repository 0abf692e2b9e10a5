// What the stores rely on, of PostgreSQL: values, exclusive writers, migrations, and errors with the right code, also
// when the server goes away.
#include "sql/postgres.h"

#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "sql/migrate.h"
#include "sql/pool.h"
#include "sql/postgres_server_test.h"

namespace tb::sql {
namespace {

constexpr std::array<std::string_view, 2> kSteps = {
    "CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL, bytes BYTEA, note TEXT);",
    "CREATE TABLE part (item BIGINT NOT NULL REFERENCES item(id));",
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

class PostgresTest : public testing::Test {
 protected:
  void SetUp() override {
    if (PostgresServer::programs().empty()) GTEST_SKIP() << PostgresServer::kMissing;
    database_ = shared_postgres_server().make_database();
  }
  std::unique_ptr<Connection> open() const { return open_postgres(shared_postgres_server().url(database_)); }
  std::string database_;
};

TEST_F(PostgresTest, ValuesComeBackAsTheyWere) {
  const auto db = open();
  migrate(*db, kSteps);
  const Bytes bytes = {0, 1, 255, '\\', '\''};
  for (const std::int64_t id : {std::int64_t{1} << 60, std::int64_t{-1}, std::int64_t{0}, INT64_MIN}) {
    EXPECT_EQ(db->prepare("INSERT INTO item (id, name, bytes, note) VALUES (?,?,?,?)")
                  .bind(id)
                  .bind("a'b\\\xc3\xa9")
                  .bind(ByteView(bytes))
                  .bind(std::optional<std::string>())
                  .run(),
              1);
    auto row = db->prepare(
        "SELECT id, name, bytes, note, count(*) OVER () FROM item WHERE id = ?1 AND (?2 IS NULL OR note = ?2)");
    row.bind(id).bind(std::optional<std::string>());
    ASSERT_TRUE(row.step());
    EXPECT_EQ(row.integer(0), id);
    EXPECT_EQ(row.text(1), "a'b\\\xc3\xa9");
    EXPECT_EQ(row.blob(2), bytes);
    EXPECT_FALSE(row.optional_text(3).has_value());
    EXPECT_EQ(row.integer(4), 1);
    EXPECT_FALSE(row.step());
  }
  EXPECT_EQ(db->prepare("UPDATE item SET note = ?, bytes = ?").bind(nullptr).bind(ByteView()).run(), 4);
  auto row = db->prepare("SELECT bytes FROM item");
  ASSERT_TRUE(row.step());
  EXPECT_FALSE(row.is_null(0)) << "no bytes are not null";
}

TEST_F(PostgresTest, TextThatIsNotUtf8IsTheCallersFault) {
  const auto db = open();
  for (const auto* text : {"\xff", "\xc3", "a\xed\xa0\x80"}) {
    EXPECT_EQ(reason_of([&] { db->prepare("SELECT 1 WHERE ? = 'a'").bind(text).step(); }), "field_invalid");
  }
  EXPECT_TRUE(db->prepare("SELECT 1 WHERE ? = 'a'").bind("a").step());
}

TEST_F(PostgresTest, MigrationsGoForwardOnlyAndRunOnce) {
  {
    const auto db = open();
    migrate(*db, std::span(kSteps).first(1));
    EXPECT_EQ(db->schema_version(), 1);
    migrate(*db, kSteps);
    migrate(*db, kSteps);
    EXPECT_EQ(db->schema_version(), 2);
  }
  const auto db = open();
  EXPECT_EQ(reason_of([&] { migrate(*db, std::span(kSteps).first(1)); }), "database_newer");
}

TEST_F(PostgresTest, ManyThatStartAtOnceMigrateOnce) {
  std::vector<std::jthread> threads;
  std::atomic<int> well{0};
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      const std::string reason = reason_of([&] { migrate(*open(), kSteps); });
      EXPECT_EQ(reason, "nothing");
      if (reason == "nothing") ++well;
    });
  }
  threads.clear();
  EXPECT_EQ(well.load(), 6);
  EXPECT_EQ(open()->schema_version(), 2);
}

TEST_F(PostgresTest, AFailedStepLeavesTheVersionBefore) {
  const auto db = open();
  const std::array<std::string_view, 2> steps = {kSteps[0], "CREATE TABLE other (x BIGINT); THIS IS NO SQL;"};
  EXPECT_EQ(reason_of([&] { migrate(*db, steps); }), "database_failed");
  EXPECT_EQ(db->schema_version(), 1);
  EXPECT_EQ(reason_of([&] { db->prepare("SELECT * FROM other").step(); }), "database_failed");
}

TEST_F(PostgresTest, TransactionsRollBackUnlessCommitted) {
  const auto db = open();
  migrate(*db, kSteps);
  {
    Transaction transaction(*db);
    db->execute("INSERT INTO item VALUES (1,'a',NULL,NULL)");
  }
  {
    Transaction transaction(*db);
    EXPECT_EQ(reason_of([&] { db->execute("INSERT INTO part VALUES (99)"); }), "database_failed");
    EXPECT_EQ(reason_of([&] { transaction.commit(); }), "database_failed") << "what has failed is not committed";
  }
  auto count = db->prepare("SELECT count(*) FROM item");
  count.step();
  EXPECT_EQ(count.integer(0), 0);
}

TEST_F(PostgresTest, WritersFollowOneAnother) {
  const auto first = open();
  migrate(*first, kSteps);
  first->execute("INSERT INTO item VALUES (1,'',NULL,'0')");
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const auto db = open();
      for (int j = 0; j < 10; ++j) {
        Transaction transaction(*db);
        auto row = db->prepare("SELECT note FROM item");
        row.step();
        db->prepare("UPDATE item SET note = ?").bind(std::to_string(std::stoi(row.text(0)) + 1)).run();
        transaction.commit();
      }
    });
  }
  threads.clear();
  auto row = first->prepare("SELECT note FROM item");
  row.step();
  EXPECT_EQ(row.text(0), "40");
}

TEST_F(PostgresTest, ASecondWriterIsToldThatTheDatabaseIsBusy) {
  const auto first = open();
  const auto second = open();
  second->execute("SET lock_timeout = '1ms'");
  const Transaction held(*first);
  EXPECT_EQ(reason_of([&] { const Transaction wanted(*second); }), "database_busy");
  EXPECT_TRUE(second->usable());
  second->execute("SELECT 1");
}

TEST_F(PostgresTest, AConflictIsCalledOne) {
  const auto first = open();
  migrate(*first, kSteps);
  first->execute("INSERT INTO item VALUES (1,'',NULL,'0')");
  const auto second = open();
  first->execute("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT * FROM item");
  second->execute("UPDATE item SET note = 'x'");
  EXPECT_EQ(reason_of([&] { first->execute("UPDATE item SET note = 'y'"); }), "database_conflict");
}

TEST_F(PostgresTest, ALostServerIsUnavailableAndComesBack) {
  PostgresServer server;
  PatientOpener opener([&] { return open_postgres(server.url("postgres")); });
  Pool pool(opener, 1);
  pool.take();
  server.stop();
  EXPECT_EQ(reason_of([&] { (*pool.take()).execute("SELECT 1"); }), "database_unavailable");
  EXPECT_EQ(reason_of([&] { pool.take(); }), "database_unavailable") << "the lost one was not kept";
  EXPECT_TRUE(reason_info("database_unavailable").retryable);
  EXPECT_EQ(reason_info("database_unavailable").http_status, 503);
  server.start();
  std::string reason = "nothing yet";
  for (int i = 0; i < 1000 && reason != "nothing"; ++i) {
    reason = reason_of([&] { (*pool.take()).execute("SELECT 1"); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(reason, "nothing");
}

TEST(PostgresUrl, IsPrintedWithoutItsPassword) {
  const SecretString url("postgresql://me:hunter2@db.example:5433/tb?sslmode=require&password=hunter3");
  EXPECT_EQ(printable_postgres_url(url), "postgresql://me@db.example:5433/tb");
  EXPECT_TRUE(holds_password(url));
  EXPECT_FALSE(holds_password(SecretString("postgresql://me@db.example/tb?passfile=/etc/tb/pgpass")));
  EXPECT_EQ(printable_postgres_url(SecretString("postgres:///tb")), "postgresql:///tb");
}

TEST(PostgresUrl, WhatIsNoUrlIsRefusedWithoutQuotingIt) {
  for (const auto* text : {"", "mysql://a:hunter2@b/c", "host=a password=hunter2", "postgresql://a:hunter2@[b/c",
                           "postgresql://a:hunter2@b/c?no=such", "postgresql://a:hunter2%zz@b/c"}) {
    try {
      open_postgres(SecretString(text));
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.reason, "config_invalid") << text;
      EXPECT_EQ(error.story().find("hunter2"), std::string::npos) << error.story();
    }
  }
}

TEST(PostgresUrl, AFailureToConnectDoesNotNameThePassword) {
  try {
    open_postgres(SecretString("postgresql://me:hunter2@/tb?host=/nonexistent"));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "database_unavailable");
    EXPECT_EQ(error.story().find("hunter2"), std::string::npos) << error.story();
  }
}

}  // namespace
}  // namespace tb::sql
