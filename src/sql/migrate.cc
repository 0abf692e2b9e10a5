// The version is read without a lock first, so that a program can start, and read, where nothing can be written.
#include "sql/migrate.h"

#include <fmt/format.h>

#include "base/error.h"

namespace tb::sql {
namespace {

/// True if a step is still to be taken.
bool is_behind(Connection& db, std::int64_t newest) {
  const std::int64_t version = db.schema_version();
  if (version > newest) {
    throw Error("database_newer", fmt::format("the database has schema {}, this program knows {}", version, newest));
  }
  return version < newest;
}

}  // namespace

void take_steps(Connection& db, std::span<const std::string_view> steps, std::int64_t from, std::int64_t to) {
  for (std::int64_t step = from; step < to; ++step) db.execute(std::string(steps[static_cast<std::size_t>(step)]));
  db.set_schema_version(to);
}

void migrate(Connection& db, std::span<const std::string_view> steps) {
  const auto newest = static_cast<std::int64_t>(steps.size());
  while (is_behind(db, newest)) {
    Transaction transaction(db);
    // Another process may have been quicker while this one waited for the lock.
    if (!is_behind(db, newest)) return;
    const std::int64_t version = db.schema_version();
    take_steps(db, steps, version, version + 1);
    transaction.commit();
  }
}

}  // namespace tb::sql
