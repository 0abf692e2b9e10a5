// Neither command opens the store first: a backup is taken before an upgrade changes the schema, and a restore may meet
// a database that cannot be opened.
#include "controlplane/backup.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "base/fs.h"
#include "controlplane/admin.h"
#include "sql/postgres.h"
#include "sql/sqlite.h"
#include "store/backup.h"

namespace tb::controlplane {
namespace {

std::unique_ptr<sql::Connection> connect(const Config& config) {
  if (config.database_url) return sql::open_postgres(*config.database_url);
  return sql::open_sqlite(config.database_path);
}

std::string described(const store::BackupSummary& summary) {
  return fmt::format("{} rows, {} events, head {}", summary.rows, summary.events, summary.head);
}

}  // namespace

std::string back_up(const Config& config, const std::string& path) {
  if (!config.database_url) {
    // Opening would make an empty one.
    value_or_throw(open_file(config.database_path, O_RDONLY | O_NOFOLLOW));
  }
  return fmt::format("backed up {}", described(store::back_up(*connect(config), path)));
}

RestoreReport restore_backup(Config& config, const std::string& path, bool replace) {
  value_or_throw(make_directories(config.data_dir, 0700));
  const auto summary = store::restore(*connect(config), path, replace);
  const auto store = open_store(config);
  store::Event event{.type = "database_restored", .tenant = "", .actor = "console", .subject = "database"};
  event.detail.set("records", summary.events);
  store->append_event(event);

  RestoreReport report{.line = fmt::format("restored {}", described(summary)), .warnings = {}};
  report.warnings.push_back(
      fmt::format("what happened after {} is not in the backup: suspend, revoke and change again what was changed "
                  "since, tokens too",
                  summary.last_event.empty() ? "it was made" : summary.last_event));
  try {
    open_keyring(config, *store);
  } catch (const Error& error) {
    if (error.reason != "kek_missing" && error.reason != "key_unwrap_failed" && !error.reason.starts_with("kms_"))
      throw;
    report.warnings.push_back(fmt::format("{}; {}", error.story(), error.hint()));
  }
  return report;
}

}  // namespace tb::controlplane
