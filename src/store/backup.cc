// Tables and columns are taken from the schema that this program knows, never from the file, which may come from
// anyone. Rows are read in pages by primary key, so that memory has a bound whatever a table holds.
#include "store/backup.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <ranges>

#include "base/crypto.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "sql/migrate.h"
#include "sql/sqlite.h"
#include "store/schema.h"
#include "tlog/chain.h"

namespace tb::store {
namespace {

/// In the file's header, where SQLite keeps a number for the application. ASCII "tbbk".
constexpr std::int64_t kApplicationId = 0x7462626b;
constexpr std::int64_t kPageRows = 500;

struct Column {
  std::string name;
  sql::Type type;
};

struct Table {
  std::string name;
  std::vector<Column> columns;
  std::vector<std::size_t> key;  ///< columns of the primary key, in its order
};

/// The tables of schema `version`, each after those that it refers to: as the steps make them.
std::vector<Table> tables_of(std::int64_t version) {
  const auto db = sql::open_sqlite(":memory:");
  sql::take_steps(*db, kSqliteSteps, 0, version);
  std::vector<Table> out;
  auto names = db->prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid");
  while (names.step()) {
    Table table{.name = names.text(0), .columns = {}, .key = {}};
    std::map<std::int64_t, std::size_t> key;
    auto columns = db->prepare("SELECT name, type, pk FROM pragma_table_info(?)");
    columns.bind(table.name);
    while (columns.step()) {
      const std::string type = columns.text(1);
      if (columns.integer(2) > 0) key[columns.integer(2)] = table.columns.size();
      table.columns.push_back({.name = columns.text(0),
                               .type = type == "INTEGER" ? sql::Type::kInteger
                                       : type == "BLOB"  ? sql::Type::kBlob
                                                         : sql::Type::kText});
    }
    for (const auto& [place, column] : key) table.key.push_back(column);
    if (table.key.empty()) throw Error("internal", "the table " + table.name + " has no primary key");
    out.push_back(std::move(table));
  }
  return out;
}

std::string marks(std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += i == 0 ? "?" : ",?";
  return out;
}

void bind_column(sql::Statement& to, const sql::Statement& row, std::size_t index, sql::Type type) {
  const int column = static_cast<int>(index);
  if (type == sql::Type::kInteger) {
    to.bind(row.optional_integer(column));
  } else if (type == sql::Type::kText) {
    to.bind(row.optional_text(column));
  } else if (row.is_null(column)) {
    to.bind(nullptr);
  } else {
    to.bind(ByteView(row.blob(column)));
  }
}

/// A value of a key, to go on after.
using Value = std::variant<std::int64_t, std::string, Bytes>;

std::int64_t copy_table(sql::Connection& from, sql::Connection& to, const Table& table) {
  std::vector<std::string> names;
  for (const auto& column : table.columns) names.push_back(column.name);
  std::vector<std::string> key;
  for (const std::size_t column : table.key) key.push_back(names[column]);
  const std::string columns = fmt::format("{}", fmt::join(names, ", "));
  const std::string order = fmt::format("{}", fmt::join(key, ", "));
  const std::string first = fmt::format("SELECT {} FROM {} ORDER BY {} LIMIT ?", columns, table.name, order);
  const std::string next = fmt::format("SELECT {} FROM {} WHERE ({}) > ({}) ORDER BY {} LIMIT ?", columns, table.name,
                                       order, marks(key.size()), order);
  const std::string insert =
      fmt::format("INSERT INTO {} ({}) VALUES ({})", table.name, columns, marks(table.columns.size()));
  std::vector<Value> after;
  std::int64_t rows = 0;
  for (;;) {
    auto page = from.prepare(after.empty() ? first : next);
    for (const auto& value : after) {
      if (const auto* number = std::get_if<std::int64_t>(&value)) page.bind(*number);
      if (const auto* text = std::get_if<std::string>(&value)) page.bind(*text);
      if (const auto* bytes = std::get_if<Bytes>(&value)) page.bind(ByteView(*bytes));
    }
    page.bind(kPageRows);
    std::int64_t found = 0;
    for (; page.step(); ++found) {
      auto row = to.prepare(insert);
      for (std::size_t i = 0; i < table.columns.size(); ++i) bind_column(row, page, i, table.columns[i].type);
      row.run();
      after.clear();
      for (const std::size_t column : table.key) {
        const int at = static_cast<int>(column);
        const sql::Type type = table.columns[column].type;
        after.push_back(type == sql::Type::kInteger ? Value(page.integer(at))
                        : type == sql::Type::kText  ? Value(page.text(at))
                                                    : Value(page.blob(at)));
      }
    }
    rows += found;
    if (found < kPageRows) return rows;
  }
}

/// The log as `db` holds it, every line verified.
void verify_log(sql::Connection& db, BackupSummary& summary) {
  tlog::ChainHead head;
  std::string last;
  for (;;) {
    auto page = db.prepare("SELECT seq, line FROM event WHERE seq >= ? ORDER BY seq LIMIT ?");
    page.bind(static_cast<std::int64_t>(head.records)).bind(kPageRows);
    std::int64_t found = 0;
    for (; page.step(); ++found) {
      last = page.text(1);
      tlog::verify_record(head, last);
    }
    if (found < kPageRows) break;
  }
  summary.events = static_cast<std::int64_t>(head.records);
  summary.head = to_hex(head.prev);
  if (!last.empty()) {
    const Json record = value_or_throw(Json::parse(last));
    const Json* time = record.find("ts");
    if (time != nullptr && time->is_string()) summary.last_event = time->as_string();
  }
}

void require_known(std::int64_t version, std::string_view what) {
  const auto newest = static_cast<std::int64_t>(kSqliteSteps.size());
  if (version > newest) {
    throw Error("database_newer", fmt::format("{} has schema {}, this program knows {}", what, version, newest));
  }
}

std::unique_ptr<sql::Connection> open_backup(const std::string& path) {
  try {
    auto db = sql::open_sqlite(path, {.use = sql::SqliteUse::kReadOnly});
    auto id = db->prepare("PRAGMA application_id");
    auto check = db->prepare("PRAGMA quick_check(1)");
    if (id.step() && id.integer(0) == kApplicationId && check.step() && check.text(0) == "ok") return db;
  } catch (const Error& error) {
    if (error.reason != "database_failed") throw;
    throw Error("backup_malformed", path + " is not a backup, or was damaged", error);
  }
  throw Error("backup_malformed", path + " is not a backup, or was damaged");
}

bool holds_rows(sql::Connection& db, std::int64_t version) {
  for (const auto& table : tables_of(version)) {
    if (db.prepare(fmt::format("SELECT 1 FROM {} LIMIT 1", table.name)).step()) return true;
  }
  return false;
}

/// After the backup its usage may have been sent: what was not in an event then is never sent, so that nothing is
/// billed twice, and of events that were not decided nobody knows.
void hold_back_billing(sql::Connection& db) {
  db.execute(
      "UPDATE billing_account SET before_quantity = coalesce((SELECT CAST(SUM(u.quantity) AS BIGINT) FROM usage_sum AS "
      "u "
      "WHERE u.tenant = billing_account.tenant AND u.contract_id = billing_account.contract_id AND u.dimension = "
      "billing_account.dimension AND u.hour >= billing_account.from_hour), 0) - coalesce((SELECT CAST(SUM(e.quantity) "
      "AS "
      "BIGINT) FROM billing_event AS e WHERE e.tenant = billing_account.tenant AND e.contract_id = "
      "billing_account.contract_id AND e.dimension = billing_account.dimension AND e.state <> 2), 0)");
  db.execute("UPDATE billing_event SET fate_unknown = 1 WHERE state = 0");
}

}  // namespace

BackupSummary back_up(sql::Connection& from, const std::string& path) {
  const std::int64_t version = from.schema_version();
  require_known(version, "the database");
  if (version == 0) throw Error("not_found", "there is no database to back up");
  auto file = value_or_throw(AtomicFile::create(path, 0600, false, AtomicFile::Aside::kNamed));
  BackupSummary summary;
  {
    const auto to = sql::open_sqlite(file.partial_path(), {.use = sql::SqliteUse::kNewFile});
    to->execute("PRAGMA application_id=" + std::to_string(kApplicationId));
    sql::Transaction filling(*to);
    sql::take_steps(*to, kSqliteSteps, 0, version);
    const sql::Snapshot moment(from);
    for (const auto& table : tables_of(version)) summary.rows += copy_table(from, *to, table);
    verify_log(*to, summary);
    filling.commit();
  }
  value_or_throw(file.commit());
  return summary;
}

BackupSummary restore(sql::Connection& to, const std::string& path, bool replace) {
  const auto from = open_backup(path);
  const std::int64_t version = from->schema_version();
  require_known(version, "the backup");
  const auto steps = schema_steps(to.dialect());
  BackupSummary summary;
  sql::Transaction change(to);
  const std::int64_t before = to.schema_version();
  require_known(before, "the database");
  if (!replace && holds_rows(to, before)) {
    throw Error("database_not_empty", "the database holds something already");
  }
  for (const auto& table : tables_of(before) | std::views::reverse) to.execute("DROP TABLE " + table.name);
  sql::take_steps(to, steps, 0, version);
  for (const auto& table : tables_of(version)) summary.rows += copy_table(*from, to, table);
  sql::take_steps(to, steps, version, static_cast<std::int64_t>(steps.size()));
  hold_back_billing(to);
  verify_log(to, summary);
  change.commit();
  return summary;
}

}  // namespace tb::store
