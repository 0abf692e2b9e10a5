// The two backends: SQLite for one machine, a file in the data directory; PostgreSQL for several nodes on one database.
#pragma once

#include <memory>
#include <string>

#include "base/secret.h"
#include "store/store.h"

namespace tb::store {

/// Opens or makes the database at `path` (or ":memory:") and brings its schema up to date. Throws what the database
/// throws ("database_newer" among it), and "chain_broken" if the last event is not the head of a chain.
std::unique_ptr<Store> open_sqlite_store(const std::string& path, Clock clock = unix_ms_now);

/// As above, of a database that exists on the server; also "config_invalid" for what is no such URL.
std::unique_ptr<Store> open_postgres_store(SecretString url, Clock clock = unix_ms_now);

}  // namespace tb::store
