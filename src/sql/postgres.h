// The door's PostgreSQL side, through libpq: for several nodes on one database. PostgreSQL 15 and newer.
//
// Values travel as binary parameters and statements stay prepared on the server, so the connection must be a session of
// its own: a pooler between has to run in session mode. A server elsewhere than on this machine must prove itself by
// its certificate (sslmode verify-full) unless the URL says otherwise.
#pragma once

#include <memory>
#include <string>

#include "base/secret.h"
#include "sql/connection.h"

namespace tb::sql {

/// `url` (postgres:// or postgresql://) may hold a password; a PGPASSFILE is read, too. Throws "config_invalid" if it
/// is not such a URL, and "database_unavailable" with libpq's words, which never name the password.
std::unique_ptr<Connection> open_postgres(const SecretString& url);

/// True if it has a password in it. Throws "config_invalid".
bool holds_password(const SecretString& url);

/// `url` without password and parameters: for logs and --print-config. Throws "config_invalid".
std::string printable_postgres_url(const SecretString& url);

}  // namespace tb::sql
