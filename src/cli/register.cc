#include "cli/register.h"

#include <fmt/format.h>

#include "api/asset.h"
#include "api/upload.h"
#include "azure/tenant_stores.h"
#include "cli/key_file.h"
#include "cli/manifest_file.h"
#include "jose/sealed_key.h"
#include "jose/statement.h"

namespace tb::cli {
namespace {

constexpr std::string_view kRegisterPath = "/api/v1/assets/register";
constexpr std::string_view kWrappingPath = "/api/v1/keys/wrapping";
constexpr std::string_view kManifestName = "model.manifest.json";

FileKey key_of(const RegisterOptions& options, const Console& console) {
  if (options.key_file.empty() == options.key_hex.empty()) {
    throw Error("usage", "one of --key-file and --key-hex is required");
  }
  if (options.key_hex.empty()) return read_key_file(options.key_file);
  console.warning("--key-hex shows the key to every process of this machine: use --key-file");
  return key_from_hex(options.key_hex);
}

api::BlobUrls blob_urls(const RegisterOptions& options, const std::string& asset_id) {
  if (options.store_cp + !options.blob_url.empty() + !options.storage_account.empty() != 1) {
    throw Error("usage", "one of --blob-url, --storage-account and --store cp: is required");
  }
  if (!options.storage_account.empty()) {
    auto place = azure::parse_place(
        fmt::format("azure:{}/{}/{}", options.storage_account, options.container, options.prefix), false);
    if (!place)
      throw Error("usage", "--storage-account, --container and --prefix name no place: " + place.error().message);
    const std::string endpoint = options.endpoint.empty() ? std::string(azure::kEndpoint) : options.endpoint;
    if (!endpoint.contains("{account}")) throw Error("usage", "--endpoint must have {account} in it");
    return {azure::blob_url(endpoint, *place, asset_id, "model.tbenc"),
            azure::blob_url(endpoint, *place, asset_id, kManifestName)};
  }
  if (options.store_cp) {
    return {fmt::format("store:{}/model.tbenc", asset_id), fmt::format("store:{}/{}", asset_id, kManifestName)};
  }
  return {options.blob_url,
          options.manifest_url.empty() ? manifest_url_beside(options.blob_url) : options.manifest_url};
}

std::string published_jws(const Answer& answer) {
  if (const Json* jws = answer.body.find("jws"); jws != nullptr && jws->is_string()) return jws->as_string();
  throw Error("answer_malformed", "the control plane's wrapping keys are not a JWS");
}

}  // namespace

WrappingKey wrapping_key(std::string_view jws, const Ed25519PublicKey& identity) {
  const std::string payload = jose::verify(identity, api::kWrappingKeysType, jws);
  const Json set = value_or_throw(Json::parse(payload));
  const Json* keys = set.find("keys");
  if (keys == nullptr || !keys->is_array() || keys->as_array().empty()) {
    throw Error("answer_malformed", "the control plane publishes no wrapping key");
  }
  return {jose::PublicKey::from_jwk(keys->as_array().front()),
          value_or_throw(JsonReader(set, "wrapping keys").string("tenant"))};
}

std::string manifest_url_beside(const std::string& blob_url) {
  const std::string path = blob_url.substr(0, blob_url.find_first_of("?#"));
  const std::size_t slash = path.rfind('/');
  const std::size_t host = path.find("://");
  if (slash == std::string::npos || host == std::string::npos || slash <= host + 2 || path.size() != blob_url.size()) {
    throw Error("usage", "where the manifest lies cannot be told from --blob-url").with_hint("give --manifest-url too");
  }
  return path.substr(0, slash + 1) + std::string(kManifestName);
}

Json register_asset(const RegisterOptions& options, const Settings& settings, const Console& console) {
  const FileKey key = key_of(options, console);
  const asset::Manifest manifest = read_manifest_file(options.manifest);
  asset::Expectation expected;
  expected.key = &key;
  if (!options.asset_id.empty()) expected.asset_id = options.asset_id;
  // A manifest of the first implementation has no mac; the registration itself then becomes its proof.
  expected.allow_unauthenticated = true;
  const asset::Authenticity proof = value_or_throw(asset::authenticate(manifest, expected));
  if (!proof.mac) console.warning("the manifest has no mac: whether it belongs to this key could not be checked");

  api::RegisterRequest request;
  request.asset_id = manifest.asset_id();
  request.blob_urls = blob_urls(options, request.asset_id);
  request.metadata.chunk_bytes = manifest.chunk_bytes();
  request.metadata.plaintext_bytes = static_cast<std::int64_t>(manifest.plaintext_bytes());
  request.metadata.sha256_ciphertext = manifest.sha256_ciphertext();
  request.manifest = manifest.document();

  ControlPlane control_plane(settings, console);
  if (settings.control_plane_key.empty()) {
    console.warning("no --control-plane-key is pinned: TLS alone protects the asset key on its way");
    request.decryption_key = key.clone();
  } else {
    const Ed25519PublicKey identity = read_public_key(settings.control_plane_key);
    const WrappingKey recipient = wrapping_key(published_jws(control_plane.get(std::string(kWrappingPath))), identity);
    if (!settings.tenant.empty() && settings.tenant != recipient.tenant) {
      throw Error("usage", fmt::format("the token is of tenant {}, not {}", recipient.tenant, settings.tenant));
    }
    request.wrapped_key = jose::seal_key(recipient.key,
                                         {{"tenant", recipient.tenant},
                                          {"asset_id", request.asset_id},
                                          {"sha256_ciphertext", request.metadata.sha256_ciphertext}},
                                         key);
  }
  return control_plane
      .send_secret("POST", std::string(kRegisterPath), SecretString(request.to_json().dump()), Repeat::kHarmless)
      .body;
}

}  // namespace tb::cli
