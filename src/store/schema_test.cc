// The steps for both backends make the same tables with the same columns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "sql/migrate.h"
#include "sql/postgres_server_test.h"
#include "sql/sqlite.h"
#include "store/schema.h"

namespace tb::store {
namespace {

/// "table.column type null", the types in the words of SQLite.
std::set<std::string> columns(sql::Connection& db, const std::string& query) {
  std::set<std::string> out;
  auto rows = db.prepare(query);
  while (rows.step()) {
    std::string type = rows.text(2);
    if (type == "bigint") type = "INTEGER";
    if (type == "text") type = "TEXT";
    if (type == "bytea") type = "BLOB";
    out.insert(rows.text(0) + "." + rows.text(1) + " " + type + (rows.integer(3) != 0 ? " not null" : ""));
  }
  return out;
}

TEST(Schema, BothBackendsHaveTheSameTablesAndColumns) {
  if (sql::PostgresServer::programs().empty()) GTEST_SKIP() << sql::PostgresServer::kMissing;
  const auto sqlite = sql::open_sqlite(":memory:");
  sql::migrate(*sqlite, kSqliteSteps);
  auto& server = sql::shared_postgres_server();
  const auto postgres = sql::open_postgres(server.url(server.make_database()));
  sql::migrate(*postgres, kPostgresSteps);
  // SQLite allows a null in a text primary key unless told otherwise: a key counts as not null.
  const auto on_sqlite = columns(*sqlite,
                                 "SELECT t.name, c.name, c.type, c.\"notnull\" OR c.pk > 0 FROM sqlite_schema AS t, "
                                 "pragma_table_info(t.name) AS c WHERE t.type = 'table'");
  EXPECT_GT(on_sqlite.size(), 50U);
  EXPECT_THAT(columns(*postgres,
                      "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'NO' FROM "
                      "information_schema.columns WHERE table_schema = 'public' AND table_name <> 'schema_version'"),
              testing::ContainerEq(on_sqlite));
}

TEST(Schema, TextIsComparedByteByByteOnPostgres) {
  if (sql::PostgresServer::programs().empty()) GTEST_SKIP() << sql::PostgresServer::kMissing;
  auto& server = sql::shared_postgres_server();
  const auto postgres = sql::open_postgres(server.url(server.make_database()));
  sql::migrate(*postgres, kPostgresSteps);
  auto rows = postgres->prepare(
      "SELECT table_name::text || '.' || column_name::text FROM information_schema.columns WHERE table_schema = "
      "'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'");
  while (rows.step()) ADD_FAILURE() << rows.text(0) << " is not COLLATE \"C\"";
}

}  // namespace
}  // namespace tb::store
