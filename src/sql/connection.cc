// What is the same for every backend.
#include "sql/connection.h"

#include "base/error.h"

namespace tb::sql {

Statement& Statement::bind(std::int64_t value) {
  raw_->bind_integer(value);
  return *this;
}

Statement& Statement::bind(std::string_view value) {
  if (value.find('\0') != std::string_view::npos) {
    throw Error("field_invalid", "a text must not hold a NUL character");
  }
  raw_->bind_text(value);
  return *this;
}

Statement& Statement::bind(ByteView value) {
  raw_->bind_blob(value);
  return *this;
}

Statement& Statement::bind(std::nullptr_t) {
  raw_->bind_null(Type::kAny);
  return *this;
}

Statement& Statement::bind(const std::optional<std::int64_t>& value) {
  if (value) return bind(*value);
  raw_->bind_null(Type::kInteger);
  return *this;
}

Statement& Statement::bind(const std::optional<std::string>& value) {
  if (value) return bind(*value);
  raw_->bind_null(Type::kText);
  return *this;
}

std::int64_t Statement::run() {
  if (raw_->step()) throw Error("internal", "a statement without rows gave one");
  return raw_->changes();
}

std::optional<std::string> Statement::optional_text(int column) const {
  if (is_null(column)) return std::nullopt;
  return text(column);
}

std::optional<std::int64_t> Statement::optional_integer(int column) const {
  if (is_null(column)) return std::nullopt;
  return integer(column);
}

Transaction::Transaction(Connection& db) : db_(db) {
  db_.begin_exclusive();
}

Transaction::~Transaction() {
  if (!open_) return;
  try {
    db_.execute("ROLLBACK");
  } catch (const Error&) {
    // Rolled back already: by SQLite when the disk is full, by the server when the connection is lost.
  }
}

Snapshot::Snapshot(Connection& db) : db_(db) {
  db_.begin_snapshot();
}

Snapshot::~Snapshot() {
  try {
    db_.execute("ROLLBACK");
  } catch (const Error&) {
    // The connection is lost, and the snapshot with it.
  }
}

void Transaction::commit() {
  db_.execute("COMMIT");
  open_ = false;
}

}  // namespace tb::sql
