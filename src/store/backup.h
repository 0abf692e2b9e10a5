// Everything that a database holds in one file, and back, whichever backend it came from and goes to: so a backup is
// also the way from SQLite to PostgreSQL.
//
// The file is a SQLite database with the tables of the schema and the rows of one moment. It holds wrapped keys and
// hashes of tokens, never the KEK; whoever can write it can write contracts, so it is made for its owner only. The
// objects of the embedded blob store, ciphertext all, are not in it.
#pragma once

#include <cstdint>
#include <string>

#include "sql/connection.h"

namespace tb::store {

struct BackupSummary {
  std::int64_t rows = 0;    ///< of all tables
  std::int64_t events = 0;  ///< records of the log, whose chain has verified
  std::string head;         ///< hash of the last one, hex
  std::string last_event;   ///< its time; empty: there is none
};

/// Copies what `from` holds at this moment into a new file (0600, whole or not at all) while others go on reading and
/// writing. Works on an older schema, too: before an upgrade. Throws "output_exists", "not_found" for a database
/// without a schema, "database_newer", "chain_broken", and what files and databases throw.
BackupSummary back_up(sql::Connection& from, const std::string& path);

/// Fills `to` with the backup in one transaction, and brings its schema up to date. What `to` holds is dropped with
/// `replace`, else "database_not_empty". The log must verify ("chain_broken"). Nothing else may use `to` meanwhile.
/// Throws "backup_malformed" for what is no backup, "database_newer" if backup or database come from a newer version.
BackupSummary restore(sql::Connection& to, const std::string& path, bool replace);

}  // namespace tb::store
