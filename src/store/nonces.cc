// Nonces of the challenge route: few at a time, each good for one use.
#include "store/sql_store.h"

namespace tb::store {

bool SqlStore::add_nonce(const std::string& tenant, const std::string& contract_id, ByteView hash, UnixMs now,
                         UnixMs expires_at, std::int64_t max_outstanding) {
  return write([&](Change& change) -> bool {
    change.db().prepare("DELETE FROM nonce WHERE expires_at <= ?").bind(now).run();
    const std::int64_t added =
        change.db()
            .prepare(
                "INSERT INTO nonce (tenant, contract_id, hash, expires_at) SELECT ?1,?2,?3,?4 WHERE "
                "(SELECT count(*) FROM nonce WHERE tenant = ?1 AND contract_id = ?2) < ?5")
            .bind(tenant)
            .bind(contract_id)
            .bind(hash)
            .bind(expires_at)
            .bind(max_outstanding)
            .run();
    change.commit();
    return added == 1;
  });
}

bool SqlStore::use_nonce(const std::string& tenant, const std::string& contract_id, ByteView hash, UnixMs now) {
  return write([&](Change& change) {
    const bool used =
        change.db()
            .prepare("DELETE FROM nonce WHERE tenant = ? AND contract_id = ? AND hash = ? AND expires_at > ?")
            .bind(tenant)
            .bind(contract_id)
            .bind(hash)
            .bind(now)
            .run() == 1;
    change.commit();
    return used;
  });
}

}  // namespace tb::store
