// Renewals, and how a copied sentinel gives itself away: each renewal token serves once, so of two that hold the same
// one, the second shows a token that has served.
#include "store/sql_store.h"

namespace tb::store {
namespace {

// Which lease, and that all is as policy saw it: the first nine parameters of each update.
constexpr const char* kIsTheLease =
    "lease_id = ?5 AND tenant = ?6 AND contract_id = ?7 AND asset_id = ?8 AND hw_id = ?9 AND sentinel_key = ?10 AND "
    "state = 'active' AND seat_until > ?1 AND EXISTS (SELECT 1 FROM contract WHERE contract.tenant = ?6 AND "
    "contract.contract_id = ?7 AND contract.state = 'active' AND contract.policy_version = ?11)";

sql::Statement& bind_lease(sql::Statement& update, const SeatRequest& seat, UnixMs now) {
  return update.bind(now)
      .bind(seat.expires_at)
      .bind(seat.seat_until)
      .bind(seat.client_version)
      .bind(seat.lease_id)
      .bind(seat.tenant)
      .bind(seat.contract_id)
      .bind(seat.asset_id)
      .bind(seat.hw_id)
      .bind(seat.proof.sentinel_key)
      .bind(seat.policy_version);
}

}  // namespace

bool SqlStore::renew_by_newest(sql::Connection& db, const SeatRequest& seat, UnixMs now) {
  // A lease without key is of a sentinel that may know no renewal tokens.
  const bool may_show_none = seat.proof.sentinel_key.empty() && seat.shown_renewal_hash.empty();
  auto update = db.prepare(
      std::string("UPDATE lease SET generation = generation + 1, renewed_at = ?1, expires_at = ?2, seat_until = ?3, "
                  "client_version = ?4, previous_renewal_hash = renewal_hash, renewal_hash = ?12, "
                  "renewal_request = ?13, renewal_repeated = 0 WHERE ") +
      kIsTheLease + " AND (renewal_hash = ?14 OR ?15 = 1)");
  return bind_lease(update, seat, now)
             .bind(ByteView(seat.renewal_hash))
             .bind(ByteView(seat.request_digest))
             .bind(ByteView(seat.shown_renewal_hash))
             .bind(may_show_none ? 1 : 0)
             .run() == 1;
}

bool SqlStore::renew_by_repetition(sql::Connection& db, const SeatRequest& seat, UnixMs now) {
  auto update =
      db.prepare(std::string("UPDATE lease SET renewed_at = ?1, expires_at = ?2, seat_until = ?3, client_version = ?4, "
                             "renewal_hash = ?12, renewal_repeated = 1 WHERE ") +
                 kIsTheLease + " AND renewal_request = ?13 AND previous_renewal_hash = ?14 AND renewal_repeated = 0");
  return bind_lease(update, seat, now)
             .bind(ByteView(seat.renewal_hash))
             .bind(ByteView(seat.request_digest))
             .bind(ByteView(seat.shown_renewal_hash))
             .run() == 1;
}

SeatOutcome SqlStore::refuse_renewal(sql::Connection& db, const SeatRequest& seat, UnixMs now, const Event& event) {
  auto lease = db.prepare(
      "SELECT state, seat_until FROM lease WHERE lease_id = ? AND tenant = ? AND contract_id = ? AND asset_id = ? AND "
      "sentinel_key = ?");
  lease.bind(seat.lease_id).bind(seat.tenant).bind(seat.contract_id).bind(seat.asset_id).bind(seat.proof.sentinel_key);
  if (!lease.step()) return SeatOutcome::kGone;
  const auto state = api::lease_state_from(lease.text(0));
  // Its key has started anew elsewhere, or its token was shown twice: this one must not go on.
  if (state == api::LeaseState::kSuperseded || state == api::LeaseState::kRevoked) return SeatOutcome::kCloned;
  if (state != api::LeaseState::kActive || lease.integer(1) <= now) return SeatOutcome::kGone;
  auto other_machine = db.prepare("SELECT 1 FROM lease WHERE lease_id = ? AND hw_id = ?");
  if (!other_machine.bind(seat.lease_id).bind(seat.hw_id).step()) return SeatOutcome::kGone;
  db.prepare("UPDATE lease SET state = 'revoked' WHERE lease_id = ?").bind(seat.lease_id).run();
  Event told = event;
  told.type = "lease_cloned";
  append(db, told);
  return SeatOutcome::kCloned;
}

SeatOutcome SqlStore::renew_lease(const SeatRequest& seat, UnixMs now, const Event& event) {
  return write([&](Change& change) -> SeatOutcome {
    // First: a request that was recorded and sent again must not look like a clone.
    if (!use_proof(change.db(), seat.proof)) return SeatOutcome::kProofReplayed;
    if (!renew_by_newest(change.db(), seat, now) && !renew_by_repetition(change.db(), seat, now)) {
      if (!contract_is(change.db(), seat)) return SeatOutcome::kChanged;
      const SeatOutcome refused = refuse_renewal(change.db(), seat, now, event);
      change.commit();
      return refused;
    }
    if (!use_jwk(change.db(), seat.jwk_thumbprint, now)) return SeatOutcome::kJwkReused;
    append(change.db(), event);
    change.commit();
    return SeatOutcome::kGranted;
  });
}

}  // namespace tb::store
