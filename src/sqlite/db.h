// A small door to SQLite: an owned connection, prepared statements, transactions that roll back unless committed, and
// migrations that only go forward. Errors are the project's: a full disk is "disk_full", a lock that did not come free
// in time "database_busy" (retryable), everything else "database_failed" with SQLite's words, never with bound values.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"

struct sqlite3;
struct sqlite3_stmt;

namespace tb::sqlite {

class Db;

/// A prepared statement. Belongs to its Db, and to one thread at a time.
class Statement {
 public:
  ~Statement();
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;

  /// The next parameter, in order.
  Statement& bind(std::int64_t value);
  Statement& bind(int value) { return bind(static_cast<std::int64_t>(value)); }
  Statement& bind(std::string_view value);
  Statement& bind(const std::string& value) { return bind(std::string_view(value)); }
  Statement& bind(const char* value) { return bind(std::string_view(value)); }
  Statement& bind(ByteView value);
  Statement& bind(std::nullptr_t);
  template <typename T>
  Statement& bind(const std::optional<T>& value) {
    return value ? bind(*value) : bind(nullptr);
  }

  /// True while there is a row to read.
  bool step();
  /// Runs a statement that gives no rows; returns how many rows it changed.
  std::int64_t run();

  // Columns of the row that step() found, counted from 0.
  std::int64_t integer(int column) const;
  std::string text(int column) const;
  Bytes blob(int column) const;
  bool is_null(int column) const;
  std::optional<std::string> optional_text(int column) const;
  std::optional<std::int64_t> optional_integer(int column) const;

 private:
  friend class Db;
  Statement(sqlite3* db, sqlite3_stmt* stmt) : db_(db), stmt_(stmt) {}
  sqlite3* db_;
  sqlite3_stmt* stmt_;
  int bound_ = 0;
};

struct DbOptions {
  int busy_timeout_ms = 5000;
  std::int64_t max_pages = 0;  ///< 0: SQLite's own limit; tests make a full disk with it
};

/// A connection: write-ahead log, foreign keys, full synchronisation. One thread at a time.
class Db {
 public:
  /// Opens or makes the file (0600), or ":memory:".
  explicit Db(const std::string& path, const DbOptions& options = {});
  ~Db();
  Db(const Db&) = delete;
  Db& operator=(const Db&) = delete;

  Statement prepare(std::string_view sql);
  /// Statements without parameters or rows, several at once.
  void execute(const std::string& sql);
  /// Brings the schema from its stored version to steps.size(), each step and its version in one transaction. Throws
  /// "database_newer" if the file was written by a version with more steps.
  void migrate(std::span<const std::string_view> steps);
  std::int64_t schema_version();

 private:
  sqlite3* db_ = nullptr;
};

/// A write transaction (BEGIN IMMEDIATE); rolled back unless commit() was reached.
class Transaction {
 public:
  explicit Transaction(Db& db);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Db& db_;
  bool open_ = true;
};

}  // namespace tb::sqlite
