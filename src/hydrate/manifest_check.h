// From manifest text that came through hostile storage to a manifest that may be used (spec: tbenc-v1 5).
//
// Everything that can speak for the manifest is checked where it is present, and each check that is present must pass:
// mac, registered digest, registered metadata, pinned provider signature, asset_id. With none of mac, digest and
// metadata the manifest is refused unless the operator has allowed it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "api/asset.h"
#include "asset/manifest.h"
#include "base/crypto.h"
#include "base/result.h"
#include "base/secret.h"

namespace tb::hydrate {

inline constexpr std::size_t kMostManifestBytes = std::size_t{64} << 20;

/// What the caller knows about the manifest from elsewhere.
struct ManifestFacts {
  std::string asset_id;                              ///< the asset that was asked for
  std::optional<std::string> manifest_sha256;        ///< of the authorize answer: hex, over the canonical form
  std::optional<api::AssetMetadata> metadata;        ///< of the authorize answer
  std::optional<Ed25519PublicKey> provider_key;      ///< pinned: its signature is then required
  bool allow_unauthenticated = false;
};

/// Strongest proof that the manifest carries.
enum class ManifestProof { kMac, kDigest, kMetadata, kNone };
/// "mac", "manifest_sha256", "metadata", "none": for logs and /status.
std::string_view proof_name(ManifestProof proof);

struct AuthenticatedManifest {
  asset::Manifest manifest;
  ManifestProof how = ManifestProof::kNone;
  bool signature_verified = false;  ///< by the pinned provider key
  /// True if tags, nonce prefix, count and total prove the file; false: sha256_ciphertext must verify first.
  bool tags_prove_file() const { return how == ManifestProof::kMac; }
};

/// Pure. Errors: what asset::Manifest::parse gives; "manifest_digest_mismatch", "manifest_metadata_mismatch",
/// "manifest_mac_mismatch", "manifest_signature_missing", "manifest_signature_invalid", "asset_mismatch",
/// "manifest_unauthenticated".
Result<AuthenticatedManifest> authenticate_manifest(std::string_view text, const ManifestFacts& facts,
                                                    const FileKey& key);

}  // namespace tb::hydrate
