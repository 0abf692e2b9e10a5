// Assets: a registration is once and for all, a deletion forgets the key and remembers the id.
#include "store/sql_store.h"

namespace tb::store {
namespace {

constexpr const char* kColumns =
    "SELECT tenant, asset_id, content_digest, metadata, ciphertext_url, manifest_url, manifest_sha256, kek_id, "
    "wrapped, registered_at FROM asset ";

AssetRow asset_of(const sql::Statement& row) {
  AssetRow out;
  out.view.tenant = row.text(0);
  out.view.asset_id = row.text(1);
  out.content_digest = row.text(2);
  out.view.metadata = api::AssetMetadata::from_json(value_or_throw(Json::parse(row.text(3))));
  out.view.blob_urls = {.ciphertext = row.text(4), .manifest = row.text(5)};
  out.view.manifest_sha256 = row.optional_text(6);
  out.key = {.kek_id = row.text(7), .wrapped = row.blob(8)};
  out.view.registered_at = row.integer(9);
  return out;
}

}  // namespace

RegisterOutcome SqlStore::register_asset(const AssetRow& asset, const Event& event) {
  return write([&](Change& change) -> RegisterOutcome {
    const auto& view = asset.view;
    auto old = change.db().prepare(
        "SELECT content_digest, deleted, sha256_ciphertext FROM asset WHERE tenant = ? AND asset_id = ?");
    old.bind(view.tenant).bind(view.asset_id);
    if (old.step()) {
      const bool deleted = old.integer(1) != 0;
      if (!deleted) return old.text(0) == asset.content_digest ? RegisterOutcome::kSame : RegisterOutcome::kConflict;
      if (old.text(2) != view.metadata.sha256_ciphertext) return RegisterOutcome::kConflict;
    }
    change.db()
        .prepare(
            "INSERT INTO asset (tenant, asset_id, content_digest, sha256_ciphertext, metadata, ciphertext_url, "
            "manifest_url, manifest_sha256, kek_id, wrapped, registered_at) VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT "
            "(tenant, asset_id) DO UPDATE SET "
            "content_digest = excluded.content_digest, metadata = excluded.metadata, ciphertext_url = "
            "excluded.ciphertext_url, manifest_url = excluded.manifest_url, manifest_sha256 = "
            "excluded.manifest_sha256, "
            "kek_id = excluded.kek_id, wrapped = excluded.wrapped, registered_at = excluded.registered_at, deleted = 0")
        .bind(view.tenant)
        .bind(view.asset_id)
        .bind(asset.content_digest)
        .bind(view.metadata.sha256_ciphertext)
        .bind(view.metadata.to_json().dump())
        .bind(view.blob_urls.ciphertext)
        .bind(view.blob_urls.manifest)
        .bind(view.manifest_sha256)
        .bind(asset.key.kek_id)
        .bind(ByteView(asset.key.wrapped))
        .bind(view.registered_at)
        .run();
    append(change.db(), event);
    change.commit();
    return RegisterOutcome::kCreated;
  });
}

std::optional<AssetRow> SqlStore::find_asset(const std::string& tenant, const std::string& asset_id) {
  return read([&](sql::Connection& db) -> std::optional<AssetRow> {
    auto row = db.prepare(std::string(kColumns) + "WHERE tenant = ? AND asset_id = ? AND deleted = 0");
    row.bind(tenant).bind(asset_id);
    if (!row.step()) return std::nullopt;
    return asset_of(row);
  });
}

std::vector<AssetRow> SqlStore::list_assets(const Scope& scope, const std::string& cursor, std::int64_t limit) {
  return read([&](sql::Connection& db) -> std::vector<AssetRow> {
    auto rows = db.prepare(std::string(kColumns) +
                           "WHERE deleted = 0 AND (?1 IS NULL OR tenant = ?1) AND tenant || '/' || asset_id > ?2 "
                           "ORDER BY tenant || '/' || asset_id LIMIT ?3");
    rows.bind(scope).bind(cursor).bind(limit);
    std::vector<AssetRow> out;
    while (rows.step()) out.push_back(asset_of(rows));
    return out;
  });
}

void SqlStore::delete_asset(const std::string& tenant, const std::string& asset_id, UnixMs now, const Event& event) {
  write([&](Change& change) {
    auto in_use = change.db().prepare(
        "SELECT 1 FROM contract_asset JOIN contract USING (tenant, contract_id) "
        "WHERE tenant = ? AND asset_id = ? AND state <> 'revoked' AND not_after > ?");
    in_use.bind(tenant).bind(asset_id).bind(now);
    if (in_use.step()) throw Error("asset_in_use", "a contract that has not ended names the asset " + asset_id);
    const std::int64_t changed = change.db()
                                     .prepare(
                                         "UPDATE asset SET deleted = 1, kek_id = NULL, wrapped = NULL WHERE tenant = ? "
                                         "AND asset_id = ? AND deleted = 0")
                                     .bind(tenant)
                                     .bind(asset_id)
                                     .run();
    if (changed == 0) throw Error("asset_not_found", "there is no asset " + asset_id);
    append(change.db(), event);
    change.commit();
  });
}

}  // namespace tb::store
