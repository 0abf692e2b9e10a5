// The door's SQLite side: one file, write-ahead log, foreign keys, full synchronisation.
#pragma once

#include <memory>
#include <string>

#include "sql/connection.h"

namespace tb::sql {

enum class SqliteUse {
  kService,   ///< many connections, durable: write-ahead log, full synchronisation
  kNewFile,   ///< one file that is thrown away unless all goes well: no log, and whoever made it syncs it
  kReadOnly,  ///< a file that others wrote, and may have written badly
};

struct SqliteOptions {
  int busy_timeout_ms = 5000;
  SqliteUse use = SqliteUse::kService;
  std::int64_t max_pages = 0;  ///< 0: SQLite's own limit; tests make a full disk with it
};

/// Opens or makes the file (0600), or ":memory:".
std::unique_ptr<Connection> open_sqlite(const std::string& path, const SqliteOptions& options = {});

}  // namespace tb::sql
