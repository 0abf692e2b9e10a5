// The control plane's own keys, wrapped under a KEK that is not here.
#include <algorithm>

#include "store/sql_store.h"

namespace tb::store {

namespace {

std::optional<OwnKey> own_key(sql::Connection& db, const std::string& name) {
  auto row = db.prepare("SELECT kek_id, wrapped, public_part FROM own_key WHERE name = ?");
  row.bind(name);
  if (!row.step()) return std::nullopt;
  return OwnKey{.name = name, .key = {.kek_id = row.text(0), .wrapped = row.blob(1)}, .public_part = row.blob(2)};
}

std::int64_t insert(sql::Connection& db, const OwnKey& key) {
  return db
      .prepare(
          "INSERT INTO own_key (name, kek_id, wrapped, public_part) VALUES (?,?,?,?) ON CONFLICT (name) DO NOTHING")
      .bind(key.name)
      .bind(key.key.kek_id)
      .bind(ByteView(key.key.wrapped))
      .bind(ByteView(key.public_part))
      .run();
}

}  // namespace

std::optional<OwnKey> SqlStore::find_own_key(const std::string& name) {
  return read([&](sql::Connection& db) { return own_key(db, name); });
}

OwnKey SqlStore::add_own_key(const OwnKey& key) {
  return write([&](Change& change) -> OwnKey {
    insert(change.db(), key);
    OwnKey kept = own_key(change.db(), key.name).value();
    change.commit();
    return kept;
  });
}

std::vector<OwnKey> SqlStore::list_own_keys(const std::string& family) {
  auto out = read([&](sql::Connection& db) -> std::vector<OwnKey> {
    auto rows = db.prepare("SELECT name, kek_id, wrapped, public_part FROM own_key WHERE name = ? OR name LIKE ?");
    rows.bind(family).bind(family + "/%");
    std::vector<OwnKey> found;
    while (rows.step()) {
      found.push_back({.name = rows.text(0),
                       .key = {.kek_id = rows.text(1), .wrapped = rows.blob(2)},
                       .public_part = rows.blob(3)});
    }
    return found;
  });
  // Here, as databases sort by rules of their own.
  std::ranges::sort(out, {}, &OwnKey::name);
  return out;
}

bool SqlStore::add_own_key(const OwnKey& key, const Event& event) {
  return write([&](Change& change) -> bool {
    if (insert(change.db(), key) == 0) return false;
    append(change.db(), event);
    change.commit();
    return true;
  });
}

bool SqlStore::retire_own_key(const std::string& family, const std::string& name, const Event& event) {
  return write([&](Change& change) -> bool {
    const std::int64_t retired = change.db()
                                     .prepare(
                                         "DELETE FROM own_key WHERE name = ?1 AND (name = ?2 OR name LIKE ?3) AND "
                                         "(SELECT count(*) FROM own_key WHERE name = ?2 OR name LIKE ?3) > 1")
                                     .bind(name)
                                     .bind(family)
                                     .bind(family + "/%")
                                     .run();
    if (retired == 0) return false;
    append(change.db(), event);
    change.commit();
    return true;
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
