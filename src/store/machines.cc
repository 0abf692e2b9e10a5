// Machines that proved a TPM: their keys, whom the provider approved, and how far each TPM's clock has come.
#include "store/sql_store.h"

namespace tb::store {
namespace {

constexpr const char* kColumns =
    "SELECT m.ak_name, m.ek_sha256, m.ek_public, m.ak_public, m.enrolled_at, m.seen_at, m.reset_count, "
    "m.restart_count, m.clock_ms, CASE WHEN a.ek_sha256 IS NULL THEN 0 ELSE 1 END FROM machine m LEFT JOIN approved_ek "
    "a ON a.tenant = m.tenant AND a.contract_id = m.contract_id AND a.ek_sha256 = m.ek_sha256 "
    "WHERE m.tenant = ?1 AND m.contract_id = ?2 AND ";

Machine machine_of(const sql::Statement& row) {
  Machine out;
  out.ak_name = row.text(0);
  out.ek_sha256 = row.text(1);
  out.ek_public = row.blob(2);
  out.ak_public = row.blob(3);
  out.enrolled_at = row.integer(4);
  out.seen_at = row.optional_integer(5);
  out.clock = {.reset_count = row.integer(6), .restart_count = row.integer(7), .clock_ms = row.integer(8)};
  out.approved = row.integer(9) != 0;
  return out;
}

}  // namespace

bool SqlStore::begin_enrolment(const std::string& tenant, const std::string& contract_id, const Enrolment& enrolment,
                               UnixMs now, std::int64_t max_open, const Event& event) {
  return write([&](Change& change) -> bool {
    require_contract(change.db(), tenant, contract_id);
    change.db()
        .prepare("DELETE FROM enrolment WHERE expires_at <= ? OR (tenant = ? AND contract_id = ? AND ak_name = ?)")
        .bind(now)
        .bind(tenant)
        .bind(contract_id)
        .bind(enrolment.ak_name)
        .run();
    const std::int64_t begun =
        change.db()
            .prepare(
                "INSERT INTO enrolment (tenant, contract_id, ak_name, ek_sha256, ek_public, ak_public, secret_hash, "
                "expires_at) SELECT ?1,?2,?3,?4,?5,?6,?7,?8 WHERE "
                "(SELECT count(*) FROM enrolment WHERE tenant = ?1 AND contract_id = ?2) < ?9")
            .bind(tenant)
            .bind(contract_id)
            .bind(enrolment.ak_name)
            .bind(enrolment.ek_sha256)
            .bind(ByteView(enrolment.ek_public))
            .bind(ByteView(enrolment.ak_public))
            .bind(ByteView(enrolment.secret_hash))
            .bind(enrolment.expires_at)
            .bind(max_open)
            .run();
    if (begun == 0) return false;
    append(change.db(), event);
    change.commit();
    return true;
  });
}

EnrolOutcome SqlStore::finish_enrolment(const std::string& tenant, const std::string& contract_id,
                                        const std::string& ak_name, ByteView secret_hash, UnixMs now,
                                        std::int64_t max_machines, const Event& event) {
  return write([&](Change& change) -> EnrolOutcome {
    const std::int64_t enrolled =
        change.db()
            .prepare(
                "INSERT INTO machine (tenant, contract_id, ak_name, ek_sha256, ek_public, ak_public, enrolled_at) "
                "SELECT tenant, contract_id, ak_name, ek_sha256, ek_public, ak_public, ?5 FROM enrolment WHERE "
                "tenant = ?1 AND contract_id = ?2 AND ak_name = ?3 AND secret_hash = ?4 AND expires_at > ?5 AND "
                "(SELECT count(*) FROM machine WHERE tenant = ?1 AND contract_id = ?2) < ?6 "
                "ON CONFLICT (tenant, contract_id, ak_name) DO NOTHING")
            .bind(tenant)
            .bind(contract_id)
            .bind(ak_name)
            .bind(secret_hash)
            .bind(now)
            .bind(max_machines)
            .run();
    const std::int64_t answered =
        change.db()
            .prepare(
                "DELETE FROM enrolment WHERE tenant = ? AND contract_id = ? AND ak_name = ? AND secret_hash = ? AND "
                "expires_at > ?")
            .bind(tenant)
            .bind(contract_id)
            .bind(ak_name)
            .bind(secret_hash)
            .bind(now)
            .run();
    if (answered == 0) return EnrolOutcome::kUnknown;
    if (enrolled == 0) return EnrolOutcome::kFull;
    append(change.db(), event);
    change.commit();
    return EnrolOutcome::kEnrolled;
  });
}

std::optional<Machine> SqlStore::find_machine(const std::string& tenant, const std::string& contract_id,
                                              const std::string& ak_name) {
  return read([&](sql::Connection& db) -> std::optional<Machine> {
    auto row = db.prepare(std::string(kColumns) + "m.ak_name = ?3");
    row.bind(tenant).bind(contract_id).bind(ak_name);
    if (!row.step()) return std::nullopt;
    return machine_of(row);
  });
}

std::vector<Machine> SqlStore::list_machines(const std::string& tenant, const std::string& contract_id,
                                             const std::string& cursor, std::int64_t limit) {
  return read([&](sql::Connection& db) -> std::vector<Machine> {
    auto rows = db.prepare(std::string(kColumns) + "m.ak_name > ?3 ORDER BY m.ak_name LIMIT ?4");
    rows.bind(tenant).bind(contract_id).bind(cursor).bind(limit);
    std::vector<Machine> out;
    while (rows.step()) out.push_back(machine_of(rows));
    return out;
  });
}

bool SqlStore::advance_clock(const std::string& tenant, const std::string& contract_id, const std::string& ak_name,
                             const api::TpmClock& clock, UnixMs now) {
  return write([&](Change& change) -> bool {
    const bool advanced =
        change.db()
            .prepare(
                "UPDATE machine SET reset_count = ?4, restart_count = ?5, clock_ms = ?6, seen_at = ?7 WHERE "
                "tenant = ?1 AND contract_id = ?2 AND ak_name = ?3 AND (reset_count < ?4 OR (reset_count = ?4 AND "
                "(restart_count < ?5 OR (restart_count = ?5 AND clock_ms <= ?6))))")
            .bind(tenant)
            .bind(contract_id)
            .bind(ak_name)
            .bind(clock.reset_count)
            .bind(clock.restart_count)
            .bind(clock.clock_ms)
            .bind(now)
            .run() == 1;
    change.commit();
    return advanced;
  });
}

void SqlStore::approve_machine(const std::string& tenant, const std::string& contract_id, const std::string& ek_sha256,
                               UnixMs now, const Event& event) {
  write([&](Change& change) {
    require_contract(change.db(), tenant, contract_id);
    change.db()
        .prepare(
            "INSERT INTO approved_ek (tenant, contract_id, ek_sha256, approved_at) VALUES (?,?,?,?) "
            "ON CONFLICT (tenant, contract_id, ek_sha256) DO NOTHING")
        .bind(tenant)
        .bind(contract_id)
        .bind(ek_sha256)
        .bind(now)
        .run();
    append(change.db(), event);
    change.commit();
  });
}

void SqlStore::forget_machine(const std::string& tenant, const std::string& contract_id, const std::string& ek_sha256,
                              const Event& event) {
  write([&](Change& change) {
    require_contract(change.db(), tenant, contract_id);
    for (const char* table : {"approved_ek", "machine", "enrolment"}) {
      change.db()
          .prepare("DELETE FROM " + std::string(table) + " WHERE tenant = ? AND contract_id = ? AND ek_sha256 = ?")
          .bind(tenant)
          .bind(contract_id)
          .bind(ek_sha256)
          .run();
    }
    append(change.db(), event);
    change.commit();
  });
}

}  // namespace tb::store
