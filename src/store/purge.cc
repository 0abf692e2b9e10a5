// What is taken away with time. Each statement takes a bounded number of rows, so that a backlog of months does not
// hold the database for longer than a request may wait; the next call goes on.
#include "store/sql_store.h"

namespace tb::store {
namespace {

constexpr std::int64_t kPortion = 1000;

}  // namespace

Purged SqlStore::purge(UnixMs now) {
  return write([&](Change& change) -> Purged {
    const auto rows_of = [&](const char* sql, UnixMs before) {
      return change.db().prepare(sql).bind(before).bind(kPortion).run();
    };
    Purged out;
    out.proofs = rows_of(
        "DELETE FROM used_proof WHERE (sentinel_key, jti) IN "
        "(SELECT sentinel_key, jti FROM used_proof WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
        now);
    out.nonces = rows_of(
        "DELETE FROM nonce WHERE (tenant, contract_id, hash) IN "
        "(SELECT tenant, contract_id, hash FROM nonce WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
        now);
    out.jwks = rows_of(
        "DELETE FROM used_jwk WHERE thumbprint IN "
        "(SELECT thumbprint FROM used_jwk WHERE used_at <= ? ORDER BY used_at LIMIT ?)",
        now - kRetentionMs);
    out.leases = rows_of(
        "DELETE FROM lease WHERE lease_id IN "
        "(SELECT lease_id FROM lease WHERE seat_until <= ? ORDER BY seat_until LIMIT ?)",
        now - kRetentionMs);
    out.more = std::max({out.proofs, out.nonces, out.jwks, out.leases}) >= kPortion;
    if (out.leases > 0) {
      Event event{.type = "leases_purged", .tenant = "", .actor = "housekeeping", .subject = "leases"};
      event.detail.set("leases", out.leases);
      append(change.db(), event);
    }
    change.commit();
    return out;
  });
}

}  // namespace tb::store
