// Sentinels' audit logs: one newest checkpoint for each, moved on by compare and swap.
#include "store/sql_store.h"

namespace tb::store {
namespace {

constexpr const char* kLogColumns =
    "SELECT origin, public_key, lease_id, size, root, checkpoint, updated_at FROM audit_log ";

WitnessedLog log_of(const sql::Statement& row) {
  WitnessedLog out;
  out.origin = row.text(0);
  std::ranges::copy(row.blob(1), out.key.begin());
  out.lease_id = row.text(2);
  out.size = static_cast<std::uint64_t>(row.integer(3));
  std::ranges::copy(row.blob(4), out.root.begin());
  out.checkpoint = row.text(5);
  out.updated_at = row.integer(6);
  return out;
}

}  // namespace

std::optional<std::string> SqlStore::asset_of_lease(sql::Connection& db, const std::string& tenant,
                                                    const std::string& contract_id, const std::string& lease_id) {
  auto row = db.prepare("SELECT asset_id FROM lease WHERE lease_id = ? AND tenant = ? AND contract_id = ?");
  row.bind(lease_id).bind(tenant).bind(contract_id);
  if (!row.step()) return std::nullopt;
  return row.text(0);
}

std::optional<WitnessedLog> SqlStore::find_audit_log(const std::string& tenant, const std::string& contract_id,
                                                     const std::string& origin) {
  return read([&](sql::Connection& db) -> std::optional<WitnessedLog> {
    auto row = db.prepare(std::string(kLogColumns) + "WHERE tenant = ? AND contract_id = ? AND origin = ?");
    row.bind(tenant).bind(contract_id).bind(origin);
    if (!row.step()) return std::nullopt;
    return log_of(row);
  });
}

WitnessOutcome SqlStore::advance_audit_log(const std::string& tenant, const std::string& contract_id,
                                           const std::optional<std::uint64_t>& old_size, const WitnessedLog& log,
                                           const Event& event) {
  return write([&](Change& change) -> WitnessOutcome {
    sql::Connection& db = change.db();
    if (!asset_of_lease(db, tenant, contract_id, log.lease_id)) return WitnessOutcome::kUnknownLease;
    const auto size = static_cast<std::int64_t>(log.size);
    std::int64_t changed = 0;
    if (old_size) {
      changed = db.prepare(
                      "UPDATE audit_log SET lease_id = ?, size = ?, root = ?, checkpoint = ?, updated_at = ? "
                      "WHERE tenant = ? AND contract_id = ? AND origin = ? AND size = ?")
                    .bind(log.lease_id)
                    .bind(size)
                    .bind(ByteView(log.root))
                    .bind(log.checkpoint)
                    .bind(log.updated_at)
                    .bind(tenant)
                    .bind(contract_id)
                    .bind(log.origin)
                    .bind(static_cast<std::int64_t>(*old_size))
                    .run();
    } else {
      auto count = db.prepare("SELECT count(*) FROM audit_log WHERE tenant = ? AND contract_id = ?");
      count.bind(tenant).bind(contract_id).step();
      if (count.integer(0) >= kMaxAuditLogs) return WitnessOutcome::kTooMany;
      changed =
          db.prepare(
                "INSERT INTO audit_log (tenant, contract_id, origin, public_key, lease_id, size, root, checkpoint, "
                "updated_at) VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (tenant, contract_id, origin) DO NOTHING")
              .bind(tenant)
              .bind(contract_id)
              .bind(log.origin)
              .bind(ByteView(log.key))
              .bind(log.lease_id)
              .bind(size)
              .bind(ByteView(log.root))
              .bind(log.checkpoint)
              .bind(log.updated_at)
              .run();
    }
    if (changed == 0) return WitnessOutcome::kStale;
    append(db, event);
    change.commit();
    return WitnessOutcome::kAdvanced;
  });
}

std::vector<WitnessedLog> SqlStore::list_audit_logs(const std::string& tenant, const std::string& contract_id,
                                                    const std::string& cursor, std::int64_t limit) {
  return read([&](sql::Connection& db) {
    auto rows = db.prepare(std::string(kLogColumns) +
                           "WHERE tenant = ? AND contract_id = ? AND origin > ? ORDER BY origin LIMIT ?");
    rows.bind(tenant).bind(contract_id).bind(cursor).bind(limit);
    std::vector<WitnessedLog> out;
    while (rows.step()) out.push_back(log_of(rows));
    return out;
  });
}

}  // namespace tb::store
