// Opening, and how verbs reach the database.
#include "store/sql_store.h"

#include "sql/migrate.h"
#include "sql/postgres.h"
#include "sql/sqlite.h"
#include "store/open.h"
#include "store/schema.h"

namespace tb::store {
namespace {

/// Reads at the same time, of one process.
constexpr std::size_t kReaders = 8;

}  // namespace

std::unique_ptr<Store> open_sqlite_store(const std::string& path, Clock clock) {
  // A database in memory is its one connection's own.
  const bool shared = path != ":memory:";
  return std::make_unique<SqlStore>([path] { return sql::open_sqlite(path); }, shared, std::move(clock));
}

std::unique_ptr<Store> open_postgres_store(SecretString url, Clock clock) {
  return std::make_unique<SqlStore>(
      [url = std::make_shared<SecretString>(std::move(url))] { return sql::open_postgres(*url); }, true,
      std::move(clock));
}

SqlStore::SqlStore(sql::Opener open, bool shared, Clock clock)
    : opener_(std::move(open)),
      readers_(opener_, kReaders),
      commits_(opener_),
      shared_(shared),
      clock_(std::move(clock)) {
  commits_.with_connection([](sql::Connection& db) {
    sql::migrate(db, schema_steps(db.dialect()));
    take_in_old_events(db);
  });
}

void SqlStore::check() {
  read([](sql::Connection& db) { return db.prepare("SELECT count(*) FROM own_key").step(); });
}

void SqlStore::measure(obs::Metrics& metrics) {
  commits_.count_into(metrics.counter("tb_store_commits_total", "groups of changes that were committed together"),
                      metrics.counter("tb_store_changes_total", "changes, most of them several to a commit"));
}

}  // namespace tb::store
