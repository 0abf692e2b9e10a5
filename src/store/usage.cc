// Usage: each record counted once, its sums kept by the hour in the same transaction.
#include <algorithm>

#include "store/sql_store.h"

namespace tb::store {
namespace {

Event told(const Event& base, std::string type, Json detail) {
  Event event = base;
  event.type = std::move(type);
  event.detail = std::move(detail);
  return event;
}

Json range_of(const api::UsageRecord& record) {
  Json detail = Json::object();
  detail.set("id", record.id);
  detail.set("origin", record.origin);
  detail.set("first_seq", record.first_seq);
  detail.set("last_seq", record.last_seq);
  return detail;
}

}  // namespace

SqlStore::UsageVerdict SqlStore::judge_usage(sql::Connection& db, const UsagePlace& place,
                                             const api::UsageRecord& record, const Digest& digest) {
  auto same =
      db.prepare("SELECT content_digest FROM usage_record WHERE tenant = ? AND contract_id = ? AND record_id = ?");
  same.bind(place.tenant).bind(place.contract_id).bind(record.id);
  if (same.step()) {
    return std::ranges::equal(same.blob(0), digest) ? UsageVerdict::kRepeated : UsageVerdict::kConflict;
  }
  // Ranges that were counted lie side by side, so the first that ends at or after this one's start decides.
  auto next = db.prepare(
      "SELECT first_seq FROM usage_record WHERE tenant = ? AND contract_id = ? AND origin = ? AND last_seq >= ? "
      "ORDER BY last_seq LIMIT 1");
  next.bind(place.tenant).bind(place.contract_id).bind(record.origin).bind(record.first_seq);
  return next.step() && next.integer(0) <= record.last_seq ? UsageVerdict::kConflict : UsageVerdict::kNew;
}

std::int64_t SqlStore::missing_before(sql::Connection& db, const UsagePlace& place, const api::UsageRecord& record) {
  auto last = db.prepare(
      "SELECT last_seq FROM usage_record WHERE tenant = ? AND contract_id = ? AND origin = ? AND last_seq < ? "
      "ORDER BY last_seq DESC LIMIT 1");
  last.bind(place.tenant).bind(place.contract_id).bind(record.origin).bind(record.first_seq);
  return record.first_seq - (last.step() ? last.integer(0) + 1 : 0);
}

void SqlStore::count_usage(sql::Connection& db, const UsagePlace& place, const api::UsageRecord& record,
                           const Digest& digest, UnixMs now) {
  db.prepare(
        "INSERT INTO usage_record (tenant, contract_id, record_id, content_digest, lease_id, origin, first_seq, "
        "last_seq, "
        "hour, received_at) VALUES (?,?,?,?,?,?,?,?,?,?)")
      .bind(place.tenant)
      .bind(place.contract_id)
      .bind(record.id)
      .bind(ByteView(digest))
      .bind(place.lease_id)
      .bind(record.origin)
      .bind(record.first_seq)
      .bind(record.last_seq)
      .bind(record.hour())
      .bind(now)
      .run();
  for (const auto& [dimension, quantity] : record.usage) {
    db.prepare(
          "INSERT INTO usage_sum (tenant, contract_id, dimension, hour, asset_id, quantity) VALUES (?,?,?,?,?,?) "
          "ON CONFLICT (tenant, contract_id, dimension, hour, asset_id) DO UPDATE SET "
          "quantity = usage_sum.quantity + excluded.quantity")
        .bind(place.tenant)
        .bind(place.contract_id)
        .bind(dimension)
        .bind(record.hour())
        .bind(place.asset_id)
        .bind(quantity)
        .run();
  }
}

UsageOutcome SqlStore::take_usage(sql::Connection& db, const UsagePlace& place, const api::UsageReport& report,
                                  UnixMs now, const Event& event) {
  UsageOutcome out;
  std::map<std::string, std::int64_t> totals;
  for (const auto& record : report.records) {
    const Digest digest = sha256(record.to_json().dump());
    const UsageVerdict verdict = judge_usage(db, place, record, digest);
    if (verdict == UsageVerdict::kRepeated) ++out.repeated;
    if (verdict == UsageVerdict::kConflict) {
      out.conflicts.push_back(record.id);
      append(db, told(event, "usage_conflict", range_of(record)));
    }
    if (verdict != UsageVerdict::kNew) continue;
    if (const std::int64_t missing = missing_before(db, place, record); missing > 0) {
      out.gaps.push_back({.contract_id = report.contract_id, .origin = record.origin, .missing_records = missing});
      Json detail = range_of(record);
      detail.set("missing_records", missing);
      append(db, told(event, "usage_gap", std::move(detail)));
    }
    count_usage(db, place, record, digest, now);
    for (const auto& [dimension, quantity] : record.usage) totals[dimension] += quantity;
    ++out.counted;
  }
  if (out.counted > 0) {
    Json detail = Json::object();
    detail.set("lease_id", report.lease_id);
    detail.set("records", out.counted);
    Json sums = Json::object();
    for (const auto& [dimension, quantity] : totals) sums.set(dimension, quantity);
    detail.set("usage", std::move(sums));
    append(db, told(event, "usage_reported", std::move(detail)));
  }
  return out;
}

UsageOutcome SqlStore::append_usage(const std::string& tenant, const api::UsageReport& report, UnixMs now,
                                    const Event& event) {
  return write([&](Change& change) -> UsageOutcome {
    const auto asset_id = asset_of_lease(change.db(), tenant, report.contract_id, report.lease_id);
    if (!asset_id) throw Error("lease_not_found", "the contract has no lease of this id");
    const UsagePlace place{
        .tenant = tenant, .contract_id = report.contract_id, .lease_id = report.lease_id, .asset_id = *asset_id};
    UsageOutcome out = take_usage(change.db(), place, report, now, event);
    change.commit();
    return out;
  });
}

std::int64_t SqlStore::usage_since(const std::string& tenant, const std::string& contract_id,
                                   const std::string& dimension, UnixMs since) {
  return read([&](sql::Connection& db) {
    auto row = db.prepare(
        "SELECT CAST(coalesce(SUM(quantity), 0) AS BIGINT) FROM usage_sum WHERE tenant = ? AND contract_id = ? AND "
        "dimension = "
        "? AND hour >= ?");
    row.bind(tenant).bind(contract_id).bind(dimension).bind(since);
    row.step();
    return row.integer(0);
  });
}

std::vector<UsageSum> SqlStore::list_usage(const Scope& scope, const UsageQuery& query,
                                           const std::optional<UsageSum>& after, std::int64_t limit) {
  // One bucket from 1970 on holds every time that is taken.
  constexpr std::int64_t kForever = std::int64_t{1} << 60;
  return read([&](sql::Connection& db) {
    auto rows = db.prepare(
        "SELECT start, tenant, contract_id, asset_id, dimension, quantity FROM ("
        "SELECT hour / ?1 * ?1 AS start, tenant, contract_id, asset_id, dimension, CAST(SUM(quantity) AS BIGINT) AS "
        "quantity "
        "FROM usage_sum WHERE (?2 IS NULL OR tenant = ?2) AND (?3 IS NULL OR contract_id = ?3) AND "
        "(?4 IS NULL OR asset_id = ?4) AND (?5 IS NULL OR dimension = ?5) AND hour >= ?6 AND hour < ?7 "
        "GROUP BY 1, tenant, contract_id, asset_id, dimension) AS sums "
        "WHERE (start, tenant, contract_id, asset_id, dimension) > (?8, ?9, ?10, ?11, ?12) "
        "ORDER BY start, tenant, contract_id, asset_id, dimension LIMIT ?13");
    const UsageSum last = after.value_or(UsageSum{.start = -1});
    rows.bind(query.bucket_ms == 0 ? kForever : query.bucket_ms)
        .bind(scope)
        .bind(query.contract_id)
        .bind(query.asset_id)
        .bind(query.dimension)
        .bind(query.from)
        .bind(query.to)
        .bind(last.start)
        .bind(last.tenant)
        .bind(last.contract_id)
        .bind(last.asset_id)
        .bind(last.dimension)
        .bind(limit);
    std::vector<UsageSum> out;
    while (rows.step()) {
      out.push_back({.tenant = rows.text(1),
                     .contract_id = rows.text(2),
                     .asset_id = rows.text(3),
                     .dimension = rows.text(4),
                     .start = rows.integer(0),
                     .quantity = rows.integer(5)});
    }
    return out;
  });
}

std::vector<UsageGap> SqlStore::list_usage_gaps(const Scope& scope, const std::optional<std::string>& contract_id,
                                                std::int64_t limit) {
  return read([&](sql::Connection& db) {
    auto rows = db.prepare(
        "SELECT contract_id, origin, missing FROM (SELECT tenant, contract_id, origin, "
        "CAST(MAX(last_seq) + 1 - SUM(last_seq - first_seq + 1) AS BIGINT) AS missing FROM usage_record "
        "WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR contract_id = ?2) GROUP BY tenant, contract_id, origin) "
        "AS "
        "logs "
        "WHERE missing > 0 ORDER BY tenant, contract_id, origin LIMIT ?3");
    rows.bind(scope).bind(contract_id).bind(limit);
    std::vector<UsageGap> out;
    while (rows.step()) {
      out.push_back({.contract_id = rows.text(0), .origin = rows.text(1), .missing_records = rows.integer(2)});
    }
    return out;
  });
}

}  // namespace tb::store
