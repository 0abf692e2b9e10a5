#include "meter/ledger_db.h"

#include <array>
#include <string_view>

#include "sql/migrate.h"

namespace tb::meter {
namespace {

// A record's states: 0 open, 1 to be reported, 2 reported, 3 in conflict with what was reported, 4 refused. An event's
// states: docs/metering.md, and hour_outbox.h.
constexpr std::array<std::string_view, 1> kSteps = {R"sql(
CREATE TABLE record (
  number INTEGER PRIMARY KEY,
  origin TEXT NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  from_ms INTEGER NOT NULL,
  to_ms INTEGER NOT NULL,
  requests INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  gb_transferred INTEGER NOT NULL DEFAULT 0,
  gpu_minutes INTEGER NOT NULL DEFAULT 0,
  state INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX record_state ON record (state, number);
CREATE INDEX record_seq ON record (origin, last_seq);
CREATE TABLE hour (
  start INTEGER PRIMARY KEY,
  requests INTEGER NOT NULL DEFAULT 0,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  gpu_ms INTEGER NOT NULL DEFAULT 0,
  estimated_requests INTEGER NOT NULL DEFAULT 0,
  disputed_requests INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE given (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  gb_transferred INTEGER NOT NULL,
  gpu_minutes INTEGER NOT NULL
) STRICT;
INSERT INTO given VALUES (1, 0, 0);
CREATE TABLE subject (
  name TEXT PRIMARY KEY,
  requests INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE underway (
  request_id TEXT PRIMARY KEY,
  subject TEXT NOT NULL,
  path TEXT NOT NULL,
  model TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE billed (
  resource TEXT NOT NULL,
  dimension TEXT NOT NULL,
  before_raw INTEGER NOT NULL,
  PRIMARY KEY (resource, dimension)
) STRICT, WITHOUT ROWID;
CREATE TABLE event (
  resource TEXT NOT NULL,
  dimension TEXT NOT NULL,
  hour INTEGER NOT NULL,
  quantity INTEGER NOT NULL,
  state INTEGER NOT NULL DEFAULT 0,
  fate_unknown INTEGER NOT NULL DEFAULT 0,
  detail TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (resource, dimension, hour)
) STRICT, WITHOUT ROWID;
)sql"};

}  // namespace

LedgerDb::LedgerDb(std::unique_ptr<sql::Connection> db) : db_(std::move(db)) {
  sql::migrate(*db_, kSteps);
}

}  // namespace tb::meter
