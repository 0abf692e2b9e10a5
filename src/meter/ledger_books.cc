#include "meter/ledger_books.h"

#include <fmt/format.h>

#include "api/usage.h"
#include "meter/ledger.h"

namespace tb::meter {
namespace {

/// Raw units of the ledger in all hours up to `last`.
std::int64_t raw_until(sql::Connection& db, const std::string& dimension, UnixMs last) {
  auto row = db.prepare(fmt::format("SELECT coalesce(sum({}), 0) FROM hour WHERE start <= ?", raw_sql(dimension)));
  row.bind(last);
  return row.step() ? row.integer(0) : 0;
}

std::int64_t raw_before(sql::Connection& db, const std::string& resource, const std::string& dimension) {
  auto row = db.prepare("SELECT before_raw FROM billed WHERE resource = ? AND dimension = ?");
  row.bind(resource).bind(dimension);
  return row.step() ? row.integer(0) : 0;
}

}  // namespace

LedgerBooks::LedgerBooks(LedgerDb& db, std::string resource, const std::vector<std::string>& dimensions)
    : db_(db), resource_(std::move(resource)) {
  db_.change([&](sql::Connection& sql) {
    for (const auto& dimension : dimensions) {
      const std::int64_t before = raw_until(sql, dimension, INT64_MAX);
      sql.prepare("INSERT INTO billed (resource, dimension, before_raw) VALUES (?,?,?) ON CONFLICT DO NOTHING")
          .bind(resource_)
          .bind(dimension)
          .bind(before)
          .run();
    }
  });
}

HourBooks::Standing LedgerBooks::standing(const std::string& dimension, UnixMs oldest, UnixMs newest) {
  return db_.with([&](sql::Connection& sql) {
    Standing out;
    std::int64_t raw = raw_until(sql, dimension, oldest - api::kHourMs) - raw_before(sql, resource_, dimension);
    std::map<UnixMs, std::int64_t> of_hour;
    auto hours =
        sql.prepare(fmt::format("SELECT start, {} FROM hour WHERE start >= ? AND start <= ?", raw_sql(dimension)));
    hours.bind(oldest).bind(newest);
    while (hours.step()) of_hour[hours.integer(0)] = hours.integer(1);
    for (UnixMs hour = oldest; hour <= newest; hour += api::kHourMs) {
      raw += of_hour[hour];
      out.owed[hour] = raw / raw_of_unit(dimension);
    }
    auto events = sql.prepare("SELECT hour, quantity, state FROM event WHERE resource = ? AND dimension = ?");
    events.bind(resource_).bind(dimension);
    while (events.step()) {
      out.taken.insert(events.integer(0));
      if (events.integer(2) != static_cast<std::int64_t>(EventState::kGivenUp)) out.held += events.integer(1);
    }
    return out;
  });
}

void LedgerBooks::add(std::span<const HourEvent> events) {
  db_.change([&](sql::Connection& sql) {
    for (const auto& event : events) {
      sql.prepare("INSERT INTO event (resource, dimension, hour, quantity) VALUES (?,?,?,?)")
          .bind(resource_)
          .bind(event.dimension)
          .bind(event.hour)
          .bind(event.quantity)
          .run();
    }
  });
}

std::vector<WaitingEvent> LedgerBooks::waiting() {
  return db_.with([&](sql::Connection& sql) {
    std::vector<WaitingEvent> out;
    auto row = sql.prepare(
        "SELECT dimension, hour, quantity, fate_unknown FROM event WHERE resource = ? AND state = 0 ORDER BY hour");
    row.bind(resource_);
    while (row.step()) {
      out.push_back(
          {{.dimension = row.text(0), .hour = row.integer(1), .quantity = row.integer(2)}, row.integer(3) != 0});
    }
    return out;
  });
}

void LedgerBooks::set(std::span<const HourEvent> events, EventState state, bool fate_unknown,
                      const std::string& detail) {
  db_.change([&](sql::Connection& sql) {
    for (const auto& event : events) {
      sql.prepare(
             "UPDATE event SET state = ?, fate_unknown = ?, detail = ? WHERE resource = ? AND dimension = ? AND hour = "
             "? AND state = 0")
          .bind(static_cast<std::int64_t>(state))
          .bind(fate_unknown ? 1 : 0)
          .bind(detail)
          .bind(resource_)
          .bind(event.dimension)
          .bind(event.hour)
          .run();
    }
  });
}

EventSum LedgerBooks::accepted_of_day(const std::string& dimension, UnixMs day) {
  return db_.with([&](sql::Connection& sql) {
    auto row = sql.prepare(
        "SELECT coalesce(sum(quantity), 0), count(*) FROM event WHERE resource = ? AND dimension = ? AND state = 1 AND "
        "hour >= ? AND hour < ?");
    row.bind(resource_).bind(dimension).bind(day).bind(day + api::kDayMs);
    return row.step() ? EventSum{row.integer(0), row.integer(1)} : EventSum{};
  });
}

HourBooks::Sums LedgerBooks::sums(const std::string& dimension) {
  return db_.with([&](sql::Connection& sql) {
    const std::int64_t raw = raw_until(sql, dimension, INT64_MAX) - raw_before(sql, resource_, dimension);
    Sums out{.owed = raw / raw_of_unit(dimension)};
    auto row = sql.prepare(
        "SELECT coalesce(sum(CASE WHEN state = 1 THEN quantity END), 0), coalesce(sum(CASE WHEN state = 0 THEN "
        "quantity END), 0) FROM event WHERE resource = ? AND dimension = ?");
    row.bind(resource_).bind(dimension);
    if (row.step()) {
      out.accepted = row.integer(0);
      out.pending = row.integer(1);
    }
    return out;
  });
}

}  // namespace tb::meter
