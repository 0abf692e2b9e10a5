// SQLite's codes into the project's errors, and its handles into owners.
#include "sql/sqlite.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <map>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/fs.h"

namespace tb::sql {
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

struct Finalize {
  void operator()(sqlite3_stmt* stmt) const { sqlite3_finalize(stmt); }
};
using Prepared = std::unique_ptr<sqlite3_stmt, Finalize>;
/// Prepared statements that nobody uses now, by their SQL: as many as the program has literals.
using Idle = std::multimap<std::string, Prepared, std::less<>>;

class SqliteStatement final : public RawStatement {
 public:
  SqliteStatement(sqlite3* db, Prepared stmt, std::string sql, Idle& idle)
      : db_(db), stmt_(std::move(stmt)), sql_(std::move(sql)), idle_(idle) {}
  ~SqliteStatement() override {
    // A statement that is not reset keeps its snapshot, and with it the log from being emptied.
    sqlite3_reset(stmt_.get());
    sqlite3_clear_bindings(stmt_.get());
    idle_.emplace(std::move(sql_), std::move(stmt_));
  }

  void bind_integer(std::int64_t value) override { check(sqlite3_bind_int64(stmt_.get(), ++bound_, value)); }
  void bind_text(std::string_view value) override {
    check(sqlite3_bind_text64(stmt_.get(), ++bound_, value.data() == nullptr ? "" : value.data(), value.size(),
                              SQLITE_TRANSIENT, SQLITE_UTF8));
  }
  void bind_blob(ByteView value) override {
    check(value.empty() ? sqlite3_bind_zeroblob(stmt_.get(), ++bound_, 0)
                        : sqlite3_bind_blob64(stmt_.get(), ++bound_, value.data(), value.size(), SQLITE_TRANSIENT));
  }
  void bind_null(Type) override { check(sqlite3_bind_null(stmt_.get(), ++bound_)); }

  bool step() override {
    const int rc = sqlite3_step(stmt_.get());
    if (rc == SQLITE_ROW) return true;
    if (rc == SQLITE_DONE) return false;
    raise(db_, rc, "run a statement");
  }
  std::int64_t changes() const override { return sqlite3_changes64(db_); }

  std::int64_t integer(int column) const override { return sqlite3_column_int64(stmt_.get(), column); }
  std::string text(int column) const override {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(stmt_.get(), column));
    if (bytes == nullptr) return {};
    return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(stmt_.get(), column))};
  }
  Bytes blob(int column) const override {
    const auto* bytes = static_cast<const std::uint8_t*>(sqlite3_column_blob(stmt_.get(), column));
    return {bytes, bytes + sqlite3_column_bytes(stmt_.get(), column)};
  }
  bool is_null(int column) const override { return sqlite3_column_type(stmt_.get(), column) == SQLITE_NULL; }

 private:
  void check(int rc) const {
    if (rc != SQLITE_OK) raise(db_, rc, "bind a value");
  }
  sqlite3* db_;
  Prepared stmt_;
  std::string sql_;
  Idle& idle_;
  int bound_ = 0;
};

class SqliteConnection final : public Connection {
 public:
  SqliteConnection(const std::string& path, const SqliteOptions& options) {
    const bool read_only = options.use == SqliteUse::kReadOnly;
    if (path != ":memory:") make_or_check(path, read_only);
    const int rc = sqlite3_open_v2(
        path.c_str(), &db_,
        SQLITE_OPEN_NOMUTEX | (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE), nullptr);
    try {
      if (rc != SQLITE_OK) raise(db_, rc, "open " + path);
      sqlite3_extended_result_codes(db_, 1);
      sqlite3_busy_timeout(db_, options.busy_timeout_ms);
      sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
      execute("PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;");
      if (options.use == SqliteUse::kService) {
        use_write_ahead_log(options.busy_timeout_ms);
        execute("PRAGMA synchronous=FULL");
      } else if (options.use == SqliteUse::kNewFile) {
        execute("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF");
      }
      if (options.max_pages > 0) execute("PRAGMA max_page_count=" + std::to_string(options.max_pages));
    } catch (...) {
      sqlite3_close_v2(db_);
      throw;
    }
  }
  ~SqliteConnection() override {
    idle_.clear();
    sqlite3_close_v2(db_);
  }

  Dialect dialect() const override { return Dialect::kSqlite; }
  bool usable() const override { return true; }

  Statement prepare(std::string_view sql) override {
    Prepared stmt;
    if (const auto found = idle_.find(sql); found != idle_.end()) {
      stmt = std::move(found->second);
      idle_.erase(found);
    } else {
      sqlite3_stmt* fresh = nullptr;
      const int rc =
          sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &fresh, nullptr);
      if (rc != SQLITE_OK) raise(db_, rc, "prepare a statement");
      stmt.reset(fresh);
    }
    return Statement(std::make_unique<SqliteStatement>(db_, std::move(stmt), std::string(sql), idle_));
  }

  void execute(const std::string& sql) override {
    const int rc = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
    if (rc != SQLITE_OK) raise(db_, rc, "run a script");
  }

  void begin_exclusive() override { execute("BEGIN IMMEDIATE"); }
  void begin_snapshot() override { execute("BEGIN"); }

  std::int64_t schema_version() override {
    Statement statement = prepare("PRAGMA user_version");
    statement.step();
    return statement.integer(0);
  }
  void set_schema_version(std::int64_t version) override { execute("PRAGMA user_version=" + std::to_string(version)); }

 private:
  /// A new file is made here first, because SQLite would give it the umask's mode; the log beside it takes over the
  /// file's. One that is there is looked at by name only: closing any descriptor of it would let go of all locks that
  /// this process holds on it (fcntl(2)), and then another process that closes the database takes its log away under
  /// us.
  static void make_or_check(const std::string& path, bool read_only) {
    if (!read_only) {
      const Result<Fd> made = open_file(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
      if (made) return;
      if (made.error().reason != "output_exists") throw made.error();
    }
    struct stat status{};
    if (lstat(path.c_str(), &status) != 0) throw error_from_errno(errno, path);
    if (!S_ISREG(status.st_mode)) throw Error("path_unsafe", path + " is not a regular file");
  }

  /// On a new file this needs the file for itself, and when another process does it at the same time SQLite answers
  /// that it is busy without waiting.
  void use_write_ahead_log(int busy_timeout_ms) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::milliseconds(busy_timeout_ms);
    for (;;) {
      try {
        return execute("PRAGMA journal_mode=WAL");
      } catch (const Error& error) {
        if (error.reason != "database_busy" || std::chrono::steady_clock::now() > give_up) throw;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  sqlite3* db_ = nullptr;
  Idle idle_;
};

}  // namespace

std::unique_ptr<Connection> open_sqlite(const std::string& path, const SqliteOptions& options) {
  return std::make_unique<SqliteConnection>(path, options);
}

}  // namespace tb::sql
