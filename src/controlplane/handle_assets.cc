// Assets: taken once, with their key, which is wrapped at once and never told again.
#include "api/page.h"
#include "api/upload.h"
#include "asset/manifest.h"
#include "base/crypto.h"
#include "controlplane/caller.h"
#include "controlplane/handlers.h"
#include "controlplane/page_query.h"
#include "jose/sealed_key.h"
#include "jose/statement.h"

namespace tb::controlplane {
namespace {

FileKey key_of(const api::RegisterRequest& asked, const std::string& tenant, const Deps& deps) {
  if (asked.decryption_key) return asked.decryption_key->clone();
  const Json header = jose::peek_header(*asked.wrapped_key);
  const Json* kid = header.find("kid");
  const auto wrapping_key =
      kid != nullptr && kid->is_string() ? deps.keyring.wrapping_key(kid->as_string()) : std::nullopt;
  if (!wrapping_key) {
    throw Error("jwe_refused", "the wrapped_key is sealed to a key that is not, or no longer, published")
        .with_hint("seal it to the first key of /api/v1/keys/wrapping");
  }
  return jose::open_key(
      *wrapping_key, *asked.wrapped_key,
      {{"tenant", tenant}, {"asset_id", asked.asset_id}, {"sha256_ciphertext", asked.metadata.sha256_ciphertext}});
}

/// The manifest belongs to this asset, says what `metadata` says, and, where it has a mac, is by this key.
std::optional<std::string> manifest_digest(const api::RegisterRequest& asked, const FileKey& key) {
  if (!asked.manifest) return std::nullopt;
  const auto manifest = value_or_throw(asset::Manifest::from_json(*asked.manifest));
  if (manifest.asset_id() != asked.asset_id) throw Error("asset_mismatch", "the manifest is of another asset");
  if (manifest.metadata().to_json().dump() != asked.metadata.to_json().dump()) {
    throw Error("metadata_mismatch", "the metadata is not what the manifest says");
  }
  if (manifest.has_mac()) value_or_throw(manifest.verify_mac(key));
  return manifest.sha256();
}

/// `store:<asset_id>/<name>` of an object that was uploaded; or the asset's own URL in the store that is signed for; or
/// another https URL (http to this machine only), which is handed to sentinels as it is. None is ever fetched from
/// here.
void check_url(const std::string& url, const BlobName& blob, const Deps& deps) {
  if (url.starts_with("store:")) {
    if (url != "store:" + blob.asset_id + "/" + std::string(blob.name)) {
      throw Error("field_invalid", "a store: url must be store:<asset_id>/" + std::string(blob.name));
    }
    if (!deps.blobs.open(blob))
      throw Error("blob_not_found", "nothing is stored as " + url).with_hint("upload it first");
    return;
  }
  if (deps.signing_store != nullptr) {
    const std::string own =
        deps.signing_store->url({.tenant = blob.tenant, .asset_id = blob.asset_id, .name = std::string(blob.name)});
    if (url == own) return;
    if (deps.signing_store->covers(url)) {
      throw Error("field_invalid",
                  "the url lies in the store that is signed for, but is not this asset's own place there")
          .with_hint(own.empty() ? "this tenant has no place in it" : "register it as " + own);
    }
  }
  const bool https = url.starts_with("https://");
  const bool loopback =
      url.starts_with("http://127.0.0.1") || url.starts_with("http://localhost") || url.starts_with("http://[::1]");
  const std::string_view host = std::string_view(url).substr(0, url.find('/', 8));
  const bool plain = url.size() <= 8192 && host.find('@') == std::string_view::npos &&
                     url.find_first_of(" \t\r\n\"") == std::string::npos;
  if (!plain || (!https && !loopback)) {
    throw Error("field_invalid", "blob_urls must be store: or https urls without user or spaces");
  }
}

/// Equal for the same registration again, told by a mac under the asset's own key.
std::string content_digest(const api::RegisterRequest& asked, const std::optional<std::string>& manifest_sha256,
                           const FileKey& key) {
  Json json = Json::object();
  json.set("asset_id", asked.asset_id);
  json.set("blob_urls", asked.blob_urls.to_json());
  json.set("metadata", asked.metadata.to_json());
  json.set("manifest_sha256", manifest_sha256.value_or(""));
  return to_hex(hmac_sha256(key.reveal(), as_bytes("trustbridge register v1\n" + json.dump())));
}

void check_stored_size(const api::RegisterRequest& asked, const std::string& tenant, const Deps& deps) {
  if (!asked.blob_urls.ciphertext.starts_with("store:")) return;
  const auto object = deps.blobs.open({.tenant = tenant, .asset_id = asked.asset_id, .name = kCiphertextName});
  const auto full = asked.metadata.plaintext_bytes / asked.metadata.chunk_bytes;
  const auto rest = asked.metadata.plaintext_bytes % asked.metadata.chunk_bytes;
  const auto expected = 32 + full * (asked.metadata.chunk_bytes + 20) + (rest > 0 ? rest + 20 : 0);
  if (object && static_cast<std::int64_t>(object->bytes) != expected) {
    throw Error("metadata_mismatch", "the stored ciphertext has another size than the metadata says");
  }
}

}  // namespace

http::Response handle_register_asset(const http::Request& request, Deps& deps) {
  const auto asked = api::RegisterRequest::parse(request.body);
  const std::string tenant = tenant_of(request);
  const BlobName ciphertext{.tenant = tenant, .asset_id = asked.asset_id, .name = kCiphertextName};
  const BlobName manifest{.tenant = tenant, .asset_id = asked.asset_id, .name = kManifestName};
  const FileKey key = key_of(asked, tenant, deps);
  const auto manifest_sha256 = manifest_digest(asked, key);
  check_url(asked.blob_urls.ciphertext, ciphertext, deps);
  check_url(asked.blob_urls.manifest, manifest, deps);
  check_stored_size(asked, tenant, deps);

  store::AssetRow row;
  row.view = {.tenant = tenant,
              .asset_id = asked.asset_id,
              .blob_urls = asked.blob_urls,
              .metadata = asked.metadata,
              .manifest_sha256 = manifest_sha256,
              .registered_at = deps.clock()};
  row.key = deps.keyring.wrap(tenant, asked.asset_id, asked.metadata.sha256_ciphertext, key);
  row.content_digest = content_digest(asked, manifest_sha256, key);
  store::Event event = event_by(request, "asset_registered", tenant, asked.asset_id);
  event.detail.set("sha256_ciphertext", asked.metadata.sha256_ciphertext);
  event.detail.set("key", asked.wrapped_key ? "wrapped" : "plain");
  switch (deps.store.register_asset(row, event)) {
    case store::RegisterOutcome::kCreated:
      return http::json(201, row.view.to_json());
    case store::RegisterOutcome::kSame:
      return http::json(200, deps.store.find_asset(tenant, asked.asset_id).value_or(row).view.to_json());
    case store::RegisterOutcome::kConflict:
      break;
  }
  throw Error("asset_conflict", "the asset id " + asked.asset_id + " is registered with other content");
}

http::Response handle_list_assets(const http::Request& request, Deps& deps) {
  const PageQuery page = page_query(request);
  const auto rows = deps.store.list_assets(scope_of(request), page.cursor, page.limit + 1);
  return page_response(
      page, rows, [](const store::AssetRow& row) { return row.view.to_json(); },
      [](const store::AssetRow& row) { return row.view.tenant + "/" + row.view.asset_id; });
}

http::Response handle_get_asset(const http::Request& request, Deps& deps) {
  const std::string& asset_id = request.param("id");
  const auto row = deps.store.find_asset(tenant_of(request), asset_id);
  if (!row) throw Error("asset_not_found", "there is no asset " + asset_id);
  return http::json(200, row->view.to_json());
}

http::Response handle_delete_asset(const http::Request& request, Deps& deps) {
  const std::string tenant = tenant_of(request);
  const std::string& asset_id = request.param("id");
  deps.store.delete_asset(tenant, asset_id, deps.clock(), event_by(request, "asset_deleted", tenant, asset_id));
  return http::Response{.status = 204, .headers = {}, .body = {}, .file = {}};
}

http::Response handle_wrapping_keys(const http::Request& request, Deps& deps) {
  Json keys = Json::array();
  for (const WrappingKey& published : deps.keyring.wrapping_keys()) {
    Json jwk = published.key.to_jwk();
    jwk.set("kid", published.key.thumbprint());
    jwk.set("use", "enc");
    jwk.set("alg", "ECDH-ES+A256KW");
    keys.push(std::move(jwk));
  }
  Json set = Json::object();
  set.set("keys", std::move(keys));
  set.set("tenant", caller_of(request).tenant);
  Json body = Json::object();
  body.set("jws", jose::sign(deps.keyring.identity(), api::kWrappingKeysType, set.dump()));
  return http::json(200, body);
}

}  // namespace tb::controlplane
