// Seats and leases: what makes sure that no more run than were sold.
#include "store/sql_store.h"

namespace tb::store {

bool SqlStore::contract_is(sql::Connection& db, const SeatRequest& seat) {
  auto row = db.prepare(
      "SELECT 1 FROM contract WHERE tenant = ? AND contract_id = ? AND state = 'active' AND policy_version = ?");
  return row.bind(seat.tenant).bind(seat.contract_id).bind(seat.policy_version).step();
}

bool SqlStore::use_jwk(sql::Connection& db, const std::string& thumbprint, UnixMs now) {
  if (thumbprint.empty()) return true;
  return db.prepare("INSERT INTO used_jwk (thumbprint, used_at) VALUES (?,?) ON CONFLICT (thumbprint) DO NOTHING")
             .bind(thumbprint)
             .bind(now)
             .run() == 1;
}

SeatOutcome SqlStore::take_seat(const SeatRequest& seat, UnixMs now, const Event& event) {
  return write([&](Change& change) -> SeatOutcome {
    if (!contract_is(change.db(), seat)) return SeatOutcome::kChanged;
    change.db()
        .prepare(
            "UPDATE lease SET state = 'expired' "
            "WHERE tenant = ? AND contract_id = ? AND state = 'active' AND seat_until <= ?")
        .bind(seat.tenant)
        .bind(seat.contract_id)
        .bind(now)
        .run();
    const std::int64_t taken =
        change.db()
            .prepare(
                "INSERT INTO lease (lease_id, tenant, contract_id, asset_id, hw_id, client_version, state, generation, "
                "created_at, renewed_at, expires_at, seat_until) SELECT ?1,?2,?3,?4,?5,?6,'active',1,?7,?7,?8,?9 WHERE "
                "(SELECT count(*) FROM lease WHERE tenant = ?2 AND contract_id = ?3 AND state = 'active') < ?10")
            .bind(seat.lease_id)
            .bind(seat.tenant)
            .bind(seat.contract_id)
            .bind(seat.asset_id)
            .bind(seat.hw_id)
            .bind(seat.client_version)
            .bind(now)
            .bind(seat.expires_at)
            .bind(seat.seat_until)
            .bind(seat.max_seats)
            .run();
    if (taken == 0) return SeatOutcome::kFull;
    if (!use_jwk(change.db(), seat.jwk_thumbprint, now)) return SeatOutcome::kJwkReused;
    append(change.db(), event);
    change.commit();
    return SeatOutcome::kGranted;
  });
}

SeatOutcome SqlStore::renew_lease(const SeatRequest& seat, UnixMs now, const Event& event) {
  return write([&](Change& change) -> SeatOutcome {
    const std::int64_t renewed =
        change.db()
            .prepare(
                "UPDATE lease SET generation = generation + 1, renewed_at = ?1, expires_at = ?2, seat_until = ?3, "
                "client_version = ?4 WHERE lease_id = ?5 AND tenant = ?6 AND contract_id = ?7 AND asset_id = ?8 AND "
                "hw_id = ?9 AND state = 'active' AND seat_until > ?1 AND EXISTS (SELECT 1 FROM contract WHERE tenant = "
                "?6 "
                "AND contract_id = ?7 AND state = 'active' AND policy_version = ?10)")
            .bind(now)
            .bind(seat.expires_at)
            .bind(seat.seat_until)
            .bind(seat.client_version)
            .bind(seat.lease_id)
            .bind(seat.tenant)
            .bind(seat.contract_id)
            .bind(seat.asset_id)
            .bind(seat.hw_id)
            .bind(seat.policy_version)
            .run();
    if (renewed == 0) return contract_is(change.db(), seat) ? SeatOutcome::kGone : SeatOutcome::kChanged;
    if (!use_jwk(change.db(), seat.jwk_thumbprint, now)) return SeatOutcome::kJwkReused;
    append(change.db(), event);
    change.commit();
    return SeatOutcome::kGranted;
  });
}

std::string SqlStore::find_seat(const std::string& tenant, const std::string& contract_id, const std::string& asset_id,
                                const std::string& hw_id, UnixMs now) {
  return read([&](sql::Connection& db) -> std::string {
    auto row = db.prepare(
        "SELECT lease_id FROM lease WHERE tenant = ? AND contract_id = ? AND asset_id = ? AND hw_id = ? AND "
        "state = 'active' AND seat_until > ? ORDER BY created_at LIMIT 1");
    row.bind(tenant).bind(contract_id).bind(asset_id).bind(hw_id).bind(now);
    return row.step() ? row.text(0) : std::string();
  });
}

bool SqlStore::end_lease(const std::string& tenant, const std::string& contract_id, const std::string& lease_id,
                         api::LeaseState state, UnixMs now, const Event& event) {
  return write([&](Change& change) -> bool {
    const std::int64_t ended =
        change.db()
            .prepare(
                "UPDATE lease SET state = ? WHERE lease_id = ? AND tenant = ? AND contract_id = ? AND state = 'active' "
                "AND seat_until > ?")
            .bind(api::lease_state_name(state))
            .bind(lease_id)
            .bind(tenant)
            .bind(contract_id)
            .bind(now)
            .run();
    if (ended == 0) return false;
    append(change.db(), event);
    change.commit();
    return true;
  });
}

std::vector<api::Lease> SqlStore::list_leases(const std::string& tenant, const std::string& contract_id,
                                              const std::string& cursor, std::int64_t limit) {
  return read([&](sql::Connection& db) -> std::vector<api::Lease> {
    auto rows = db.prepare(
        "SELECT lease_id, contract_id, asset_id, hw_id, client_version, state, generation, created_at, renewed_at, "
        "expires_at FROM lease WHERE tenant = ?1 AND contract_id = ?2 AND (?3 = '' OR (created_at, lease_id) < "
        "(SELECT created_at, lease_id FROM lease WHERE lease_id = ?3)) ORDER BY created_at DESC, lease_id DESC LIMIT "
        "?4");
    rows.bind(tenant).bind(contract_id).bind(cursor).bind(limit);
    std::vector<api::Lease> out;
    while (rows.step()) {
      out.push_back({.lease_id = rows.text(0),
                     .contract_id = rows.text(1),
                     .asset_id = rows.text(2),
                     .hw_id = rows.text(3),
                     .client_version = rows.text(4),
                     .state = api::lease_state_from(rows.text(5)),
                     .generation = rows.integer(6),
                     .created_at = rows.integer(7),
                     .renewed_at = rows.integer(8),
                     .expires_at = rows.integer(9)});
    }
    return out;
  });
}

bool SqlStore::lease_serves(const std::string& tenant, const std::string& lease_id, const std::string& asset_id,
                            UnixMs now) {
  return read([&](sql::Connection& db) -> bool {
    auto row = db.prepare(
        "SELECT 1 FROM lease JOIN contract USING (tenant, contract_id) WHERE lease_id = ? AND tenant = ? AND asset_id "
        "= ? "
        "AND lease.state = 'active' AND seat_until > ? AND contract.state = 'active'");
    return row.bind(lease_id).bind(tenant).bind(asset_id).bind(now).step();
  });
}

}  // namespace tb::store
