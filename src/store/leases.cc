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

bool SqlStore::use_proof(sql::Connection& db, const ProofOnce& proof) {
  if (proof.sentinel_key.empty()) return true;
  return db.prepare(
               "INSERT INTO used_proof (sentinel_key, jti, expires_at) VALUES (?,?,?) "
               "ON CONFLICT (sentinel_key, jti) DO NOTHING")
             .bind(proof.sentinel_key)
             .bind(proof.jti)
             .bind(proof.expires_at)
             .run() == 1;
}

void SqlStore::supersede(sql::Connection& db, const SeatRequest& seat, const Event& event) {
  if (seat.proof.sentinel_key.empty()) return;
  std::vector<std::string> older;
  {
    auto rows = db.prepare(
        "SELECT lease_id FROM lease WHERE tenant = ? AND contract_id = ? AND sentinel_key = ? AND state = 'active' "
        "ORDER BY lease_id");
    rows.bind(seat.tenant).bind(seat.contract_id).bind(seat.proof.sentinel_key);
    while (rows.step()) older.push_back(rows.text(0));
  }
  for (const auto& lease_id : older) {
    db.prepare("UPDATE lease SET state = 'superseded' WHERE lease_id = ?").bind(lease_id).run();
    Event told = event;
    told.type = "lease_superseded";
    told.detail.set("lease_id", lease_id);
    told.detail.set("by", seat.lease_id);
    append(db, told);
  }
}

SeatOutcome SqlStore::take_seat(const SeatRequest& seat, UnixMs now, const Event& event) {
  return write([&](Change& change) -> SeatOutcome {
    if (!use_proof(change.db(), seat.proof)) return SeatOutcome::kProofReplayed;
    change.db()
        .prepare(
            "UPDATE lease SET state = 'expired' "
            "WHERE tenant = ? AND contract_id = ? AND state = 'active' AND seat_until <= ?")
        .bind(seat.tenant)
        .bind(seat.contract_id)
        .bind(now)
        .run();
    supersede(change.db(), seat, event);
    const std::int64_t taken =
        change.db()
            .prepare(
                "INSERT INTO lease (lease_id, tenant, contract_id, asset_id, hw_id, client_version, state, generation, "
                "created_at, renewed_at, expires_at, seat_until, sentinel_key, renewal_hash) "
                "SELECT ?1,?2,?3,?4,?5,?6,'active',1,?7,?7,?8,?9,?10,?11 WHERE "
                "(SELECT count(*) FROM lease WHERE tenant = ?2 AND contract_id = ?3 AND state = 'active') < ?12 AND "
                "EXISTS (SELECT 1 FROM contract WHERE contract.tenant = ?2 AND contract.contract_id = ?3 AND "
                "contract.state = 'active' AND contract.policy_version = ?13)")
            .bind(seat.lease_id)
            .bind(seat.tenant)
            .bind(seat.contract_id)
            .bind(seat.asset_id)
            .bind(seat.hw_id)
            .bind(seat.client_version)
            .bind(now)
            .bind(seat.expires_at)
            .bind(seat.seat_until)
            .bind(seat.proof.sentinel_key)
            .bind(ByteView(seat.renewal_hash))
            .bind(seat.max_seats)
            .bind(seat.policy_version)
            .run();
    if (taken == 0) return contract_is(change.db(), seat) ? SeatOutcome::kFull : SeatOutcome::kChanged;
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
        "sentinel_key = '' AND state = 'active' AND seat_until > ? ORDER BY created_at LIMIT 1");
    row.bind(tenant).bind(contract_id).bind(asset_id).bind(hw_id).bind(now);
    return row.step() ? row.text(0) : std::string();
  });
}

std::optional<UnixMs> SqlStore::next_seat_end(const std::string& tenant, const std::string& contract_id, UnixMs now) {
  return read([&](sql::Connection& db) -> std::optional<UnixMs> {
    auto row = db.prepare(
        "SELECT min(seat_until) FROM lease WHERE tenant = ? AND contract_id = ? AND state = 'active' AND "
        "seat_until > ?");
    row.bind(tenant).bind(contract_id).bind(now);
    if (!row.step()) return std::nullopt;
    return row.optional_integer(0);
  });
}

bool SqlStore::holds_lease(const std::string& tenant, const std::string& contract_id, const std::string& lease_id,
                           const std::string& sentinel_key, UnixMs now) {
  return read([&](sql::Connection& db) -> bool {
    auto row = db.prepare(
        "SELECT 1 FROM lease WHERE lease_id = ? AND tenant = ? AND contract_id = ? AND sentinel_key = ? AND "
        "state = 'active' AND seat_until > ?");
    return row.bind(lease_id).bind(tenant).bind(contract_id).bind(sentinel_key).bind(now).step();
  });
}

bool SqlStore::owns_lease(const std::string& tenant, const std::string& contract_id, const std::string& lease_id,
                          const std::string& sentinel_key) {
  return read([&](sql::Connection& db) {
    auto row =
        db.prepare("SELECT 1 FROM lease WHERE lease_id = ? AND tenant = ? AND contract_id = ? AND sentinel_key = ?");
    return row.bind(lease_id).bind(tenant).bind(contract_id).bind(sentinel_key).step();
  });
}

bool SqlStore::take_proof(const ProofOnce& proof) {
  if (proof.sentinel_key.empty()) return true;
  return write([&](Change& change) {
    if (!use_proof(change.db(), proof)) return false;
    change.commit();
    return true;
  });
}

ReleaseOutcome SqlStore::release_lease(const std::string& tenant, const std::string& contract_id,
                                       const std::string& lease_id, const ProofOnce& proof, UnixMs now,
                                       const Event& event) {
  return write([&](Change& change) -> ReleaseOutcome {
    if (!use_proof(change.db(), proof)) return ReleaseOutcome::kProofReplayed;
    const std::int64_t ended =
        change.db()
            .prepare(
                "UPDATE lease SET state = 'released' WHERE lease_id = ? AND tenant = ? AND contract_id = ? AND "
                "sentinel_key = ? AND state = 'active' AND seat_until > ?")
            .bind(lease_id)
            .bind(tenant)
            .bind(contract_id)
            .bind(proof.sentinel_key)
            .bind(now)
            .run();
    if (ended == 0) return ReleaseOutcome::kGone;
    append(change.db(), event);
    change.commit();
    return ReleaseOutcome::kReleased;
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

std::int64_t SqlStore::count_active_leases(UnixMs now) {
  return read([&](sql::Connection& db) -> std::int64_t {
    auto row = db.prepare("SELECT count(*) FROM lease WHERE seat_until > ? AND state = 'active'");
    row.bind(now).step();
    return row.integer(0);
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
