// The control plane's own keys, wrapped under a KEK that is not here.
#include "store/sql_store.h"

namespace tb::store {

namespace {

std::optional<OwnKey> own_key(sql::Connection& db, const std::string& name) {
  auto row = db.prepare("SELECT kek_id, wrapped, public_part FROM own_key WHERE name = ?");
  row.bind(name);
  if (!row.step()) return std::nullopt;
  return OwnKey{.name = name, .key = {.kek_id = row.text(0), .wrapped = row.blob(1)}, .public_part = row.blob(2)};
}

}  // namespace

std::optional<OwnKey> SqlStore::find_own_key(const std::string& name) {
  return read([&](sql::Connection& db) { return own_key(db, name); });
}

OwnKey SqlStore::add_own_key(const OwnKey& key) {
  return write([&](Change& change) -> OwnKey {
    change.db()
        .prepare(
            "INSERT INTO own_key (name, kek_id, wrapped, public_part) VALUES (?,?,?,?) ON CONFLICT (name) DO NOTHING")
        .bind(key.name)
        .bind(key.key.kek_id)
        .bind(ByteView(key.key.wrapped))
        .bind(ByteView(key.public_part))
        .run();
    OwnKey kept = own_key(change.db(), key.name).value();
    change.commit();
    return kept;
  });
}

std::vector<std::string> SqlStore::kek_ids() {
  return read([&](sql::Connection& db) -> std::vector<std::string> {
    auto rows = db.prepare(
        "SELECT kek_id FROM own_key UNION SELECT kek_id FROM asset WHERE kek_id IS NOT NULL ORDER BY kek_id");
    std::vector<std::string> out;
    while (rows.step()) out.push_back(rows.text(0));
    return out;
  });
}

}  // namespace tb::store
