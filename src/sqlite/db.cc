// SQLite's codes into the project's errors, and its handles into owners.
#include "sqlite/db.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <utility>

#include "base/fs.h"

namespace tb::sqlite {
namespace {

std::string_view reason_of(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return "disk_full";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "database_busy";
    case SQLITE_NOMEM:
      return "out_of_memory";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return "permission_denied";
    default:
      return "database_failed";
  }
}

[[noreturn]] void raise(sqlite3* db, int code, std::string_view what) {
  const char* words = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  throw Error(reason_of(code), fmt::format("sqlite cannot {}: {}", what, words));
}

}  // namespace

Statement::~Statement() {
  sqlite3_finalize(stmt_);
}

Statement::Statement(Statement&& other) noexcept
    : db_(other.db_), stmt_(std::exchange(other.stmt_, nullptr)), bound_(other.bound_) {}

Statement& Statement::bind(std::int64_t value) {
  if (const int rc = sqlite3_bind_int64(stmt_, ++bound_, value); rc != SQLITE_OK) raise(db_, rc, "bind a number");
  return *this;
}

Statement& Statement::bind(std::string_view value) {
  const int rc = sqlite3_bind_text64(stmt_, ++bound_, value.data() == nullptr ? "" : value.data(), value.size(),
                                     SQLITE_TRANSIENT, SQLITE_UTF8);
  if (rc != SQLITE_OK) raise(db_, rc, "bind a text");
  return *this;
}

Statement& Statement::bind(ByteView value) {
  const int rc = value.empty() ? sqlite3_bind_zeroblob(stmt_, ++bound_, 0)
                               : sqlite3_bind_blob64(stmt_, ++bound_, value.data(), value.size(), SQLITE_TRANSIENT);
  if (rc != SQLITE_OK) raise(db_, rc, "bind bytes");
  return *this;
}

Statement& Statement::bind(std::nullptr_t) {
  if (const int rc = sqlite3_bind_null(stmt_, ++bound_); rc != SQLITE_OK) raise(db_, rc, "bind a null");
  return *this;
}

bool Statement::step() {
  const int rc = sqlite3_step(stmt_);
  if (rc == SQLITE_ROW) return true;
  if (rc == SQLITE_DONE) return false;
  raise(db_, rc, "run a statement");
}

std::int64_t Statement::run() {
  if (step()) throw Error("internal", "a statement without rows gave one");
  return sqlite3_changes64(db_);
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(stmt_, column);
}

std::string Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, column))};
}

Bytes Statement::blob(int column) const {
  const auto* bytes = static_cast<const std::uint8_t*>(sqlite3_column_blob(stmt_, column));
  return {bytes, bytes + sqlite3_column_bytes(stmt_, column)};
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(stmt_, column) == SQLITE_NULL;
}

std::optional<std::string> Statement::optional_text(int column) const {
  if (is_null(column)) return std::nullopt;
  return text(column);
}

std::optional<std::int64_t> Statement::optional_integer(int column) const {
  if (is_null(column)) return std::nullopt;
  return integer(column);
}

Db::Db(const std::string& path, const DbOptions& options) {
  // Made here first, because SQLite would give it the umask's mode; the log beside it takes over the file's.
  if (path != ":memory:") value_or_throw(open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  const int rc =
      sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  try {
    if (rc != SQLITE_OK) raise(db_, rc, "open " + path);
    sqlite3_extended_result_codes(db_, 1);
    sqlite3_busy_timeout(db_, options.busy_timeout_ms);
    sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF;");
    if (options.max_pages > 0) execute("PRAGMA max_page_count=" + std::to_string(options.max_pages));
  } catch (...) {
    sqlite3_close_v2(db_);
    throw;
  }
}

Db::~Db() {
  sqlite3_close_v2(db_);
}

Statement Db::prepare(std::string_view sql) {
  sqlite3_stmt* stmt = nullptr;
  const int rc = sqlite3_prepare_v2(db_, sql.data(), static_cast<int>(sql.size()), &stmt, nullptr);
  if (rc != SQLITE_OK) raise(db_, rc, "prepare a statement");
  return {db_, stmt};
}

void Db::execute(const std::string& sql) {
  const int rc = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) raise(db_, rc, "run a script");
}

std::int64_t Db::schema_version() {
  Statement statement = prepare("PRAGMA user_version");
  statement.step();
  return statement.integer(0);
}

void Db::migrate(std::span<const std::string_view> steps) {
  const auto newest = static_cast<std::int64_t>(steps.size());
  for (;;) {
    Transaction transaction(*this);
    const std::int64_t version = schema_version();
    if (version > newest) {
      throw Error("database_newer", fmt::format("the database has schema {}, this program knows {}", version, newest));
    }
    if (version == newest) return;
    execute(std::string(steps[static_cast<std::size_t>(version)]));
    execute("PRAGMA user_version=" + std::to_string(version + 1));
    transaction.commit();
  }
}

Transaction::Transaction(Db& db) : db_(db) {
  db_.execute("BEGIN IMMEDIATE");
}

Transaction::~Transaction() {
  if (!open_) return;
  try {
    db_.execute("ROLLBACK");
  } catch (const Error&) {
    // SQLite has rolled back by itself already, as it does when the disk is full.
  }
}

void Transaction::commit() {
  db_.execute("COMMIT");
  open_ = false;
}

}  // namespace tb::sqlite
