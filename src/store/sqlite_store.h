// The embedded store: one SQLite file in the data directory, one connection, one caller at a time.
#pragma once

#include <memory>
#include <string>

#include "store/store.h"

namespace tb::store {

/// Opens or makes the database at `path` (or ":memory:") and brings its schema up to date. Throws what sqlite::Db
/// throws, and "chain_broken" if the last event is not the head of a chain.
std::unique_ptr<Store> open_sqlite_store(const std::string& path, Clock clock = unix_ms_now);

}  // namespace tb::store
