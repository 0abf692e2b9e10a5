// A small door to a SQL database: a connection, prepared statements, transactions that roll back unless committed. One
// implementation is SQLite (sqlite.h), one PostgreSQL (postgres.h); whoever prepares writes SQL that both understand.
//
// Parameters are `?`, in order, or `?1`. Errors are the project's: "database_unavailable" (the server cannot be reached
// or went away; retryable), "database_busy" (a lock did not come free in time; retryable), "database_conflict" (rolled
// back to let another transaction pass; retryable), "disk_full", everything else "database_failed" with the database's
// words, never with bound values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace tb::sql {

enum class Dialect { kSqlite, kPostgres };

/// What a parameter is. PostgreSQL wants to know it of a null, too.
enum class Type { kInteger, kText, kBlob, kAny };

/// What a backend gives behind a Statement.
class RawStatement {
 public:
  virtual ~RawStatement() = default;
  virtual void bind_integer(std::int64_t value) = 0;
  virtual void bind_text(std::string_view value) = 0;
  virtual void bind_blob(ByteView value) = 0;
  virtual void bind_null(Type type) = 0;
  virtual bool step() = 0;
  virtual std::int64_t changes() const = 0;
  virtual std::int64_t integer(int column) const = 0;
  virtual std::string text(int column) const = 0;
  virtual Bytes blob(int column) const = 0;
  virtual bool is_null(int column) const = 0;
};

/// A prepared statement. Belongs to its connection, and to one thread at a time.
class Statement {
 public:
  explicit Statement(std::unique_ptr<RawStatement> raw) : raw_(std::move(raw)) {}

  /// The next parameter, in order. A text is UTF-8 without NUL, which PostgreSQL cannot hold: else "field_invalid".
  Statement& bind(std::int64_t value);
  Statement& bind(int value) { return bind(static_cast<std::int64_t>(value)); }
  Statement& bind(std::string_view value);
  Statement& bind(const std::string& value) { return bind(std::string_view(value)); }
  Statement& bind(const char* value) { return bind(std::string_view(value)); }
  Statement& bind(ByteView value);
  /// A null of whatever type the place has.
  Statement& bind(std::nullptr_t);
  Statement& bind(const std::optional<std::int64_t>& value);
  Statement& bind(const std::optional<std::string>& value);

  /// True while there is a row to read.
  bool step() { return raw_->step(); }
  /// Runs a statement that gives no rows; returns how many rows it changed.
  std::int64_t run();

  // Columns of the row that step() found, counted from 0. A null reads as 0 or empty.
  std::int64_t integer(int column) const { return raw_->integer(column); }
  std::string text(int column) const { return raw_->text(column); }
  Bytes blob(int column) const { return raw_->blob(column); }
  bool is_null(int column) const { return raw_->is_null(column); }
  std::optional<std::string> optional_text(int column) const;
  std::optional<std::int64_t> optional_integer(int column) const;

 private:
  std::unique_ptr<RawStatement> raw_;
};

/// One thread at a time. Statements that were prepared once stay prepared.
class Connection {
 public:
  virtual ~Connection() = default;
  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  virtual Dialect dialect() const = 0;
  virtual Statement prepare(std::string_view sql) = 0;
  /// Statements without parameters or rows, several at once.
  virtual void execute(const std::string& sql) = 0;
  /// Begins a transaction that no other writer of this database runs beside, in this process or another: what it reads
  /// is what is so until it commits. SQLite's writers are such by nature; on PostgreSQL it is an advisory lock.
  virtual void begin_exclusive() = 0;
  /// Begins a transaction that only reads, and sees all tables as they are at its first read.
  virtual void begin_snapshot() = 0;
  /// False once the server has gone away: then only a new connection helps.
  virtual bool usable() const = 0;
  /// The number of schema steps that have been taken.
  virtual std::int64_t schema_version() = 0;
  /// Within a transaction.
  virtual void set_schema_version(std::int64_t version) = 0;
};

/// A write transaction; rolled back unless commit() was reached.
class Transaction {
 public:
  explicit Transaction(Connection& db);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  /// After "database_unavailable" nobody knows whether it was committed; after any other error it was not.
  void commit();

 private:
  Connection& db_;
  bool open_ = true;
};

/// Reads that belong together.
class Snapshot {
 public:
  explicit Snapshot(Connection& db);
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

 private:
  Connection& db_;
};

}  // namespace tb::sql
