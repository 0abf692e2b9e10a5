// The wire values of assets: what is registered and what the control plane tells of it (docs/spec/wire.md 1.2).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"

namespace tb::api {

/// Most bytes of a register request: it may carry the whole manifest.
inline constexpr std::size_t kMaxRegisterRequestBytes = std::size_t{68} << 20;

/// `^[a-zA-Z0-9_-]{1,100}$`.
bool valid_asset_id(std::string_view id);
/// `^[a-zA-Z0-9_-]{1,64}$`: tenants and contracts.
bool valid_name(std::string_view name);
/// 64 lower-hex digits.
bool valid_sha256_hex(std::string_view text);

/// `metadata` of a registered asset: the facts of its manifest that a sentinel compares.
struct AssetMetadata {
  std::string format = "tbenc/v1";
  std::string algo = "aes-256-gcm-chunked";
  std::int64_t chunk_bytes = 0;
  std::int64_t plaintext_bytes = 0;
  std::string sha256_ciphertext;  ///< lower hex

  Json to_json() const;
  /// Throws "field_invalid" that names the field. Hex is accepted in either case.
  static AssetMetadata from_json(const Json& json);
  bool operator==(const AssetMetadata&) const = default;
};

struct BlobUrls {
  std::string ciphertext;  ///< an absolute URL, or `store:<asset_id>/model.tbenc`
  std::string manifest;    ///< likewise, `store:<asset_id>/model.manifest.json`

  Json to_json() const;
};

/// Body of `POST /api/v1/assets/register`. Exactly one of `decryption_key` and `wrapped_key` is set.
struct RegisterRequest {
  std::string asset_id;
  BlobUrls blob_urls;
  AssetMetadata metadata;
  std::optional<FileKey> decryption_key;   ///< `decryption_key_hex` (kept)
  std::optional<std::string> wrapped_key;  ///< JWE to the control plane's wrapping key
  std::optional<Json> manifest;            ///< the manifest object, as it lies beside the ciphertext

  Json to_json() const;  ///< holds the key where `decryption_key` is set: for the request body only
  /// Unknown fields are ignored (a kept route). Throws an error that names the field.
  static RegisterRequest parse(std::string_view text);
};

/// What GET tells of an asset: never the key.
struct AssetView {
  std::string tenant;
  std::string asset_id;
  BlobUrls blob_urls;
  AssetMetadata metadata;
  std::optional<std::string> manifest_sha256;
  UnixMs registered_at = 0;

  Json to_json() const;
  static AssetView from_json(const Json& json);
};

}  // namespace tb::api
