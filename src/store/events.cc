// The event log: each line carries the hash of the line before, and is written with the change it tells of.
#include <limits>

#include "store/sql_store.h"

namespace tb::store {

void SqlStore::append(sql::Connection& db, const Event& event) {
  Json record = Json::object();
  record.set("ts", to_rfc3339(clock_(), true));
  record.set("type", event.type);
  record.set("tenant", event.tenant);
  record.set("actor", event.actor);
  record.set("subject", event.subject);
  record.set("detail", event.detail);
  EventLog log = event_log(db);
  tlog::ChainHead head{.records = log.tree.size(), .prev = log.last_leaf};
  const auto seq = static_cast<std::int64_t>(head.records);
  const std::string line = tlog::append_record(head, std::move(record));
  db.prepare("INSERT INTO event (seq, tenant, subject, line) VALUES (?,?,?,?)")
      .bind(seq)
      .bind(event.tenant)
      .bind(event.subject)
      .bind(line)
      .run();
  add_leaf(db, log, head.prev);
  keep(db, log);
}

void SqlStore::append_event(const Event& event) {
  write([&](Change& change) {
    append(change.db(), event);
    change.commit();
  });
}

std::vector<StoredEvent> SqlStore::list_events(const Scope& scope, std::int64_t after, std::int64_t limit) {
  return read([&](sql::Connection& db) -> std::vector<StoredEvent> {
    auto rows = db.prepare(
        "SELECT seq, tenant, line FROM event WHERE seq > ?1 AND (?2 IS NULL OR tenant = ?2) ORDER BY seq LIMIT ?3");
    rows.bind(after).bind(scope).bind(limit);
    std::vector<StoredEvent> out;
    while (rows.step()) out.push_back({.seq = rows.integer(0), .tenant = rows.text(1), .line = rows.text(2)});
    return out;
  });
}

std::vector<StoredEvent> SqlStore::list_events_about(const std::string& tenant, const std::string& subject,
                                                     const std::optional<std::int64_t>& before, std::int64_t limit) {
  return read([&](sql::Connection& db) -> std::vector<StoredEvent> {
    auto rows = db.prepare(
        "SELECT seq, tenant, line FROM event WHERE tenant = ?1 AND subject = ?2 AND seq < ?3 "
        "ORDER BY seq DESC LIMIT ?4");
    rows.bind(tenant).bind(subject).bind(before.value_or(std::numeric_limits<std::int64_t>::max())).bind(limit);
    std::vector<StoredEvent> out;
    while (rows.step()) out.push_back({.seq = rows.integer(0), .tenant = rows.text(1), .line = rows.text(2)});
    return out;
  });
}

}  // namespace tb::store
