// The manifest that belongs to a ciphertext on disk, read and authenticated as the flags of decrypt, verify and inspect
// say.
#pragma once

#include <optional>
#include <string>

#include "asset/manifest.h"
#include "tbenc/header.h"

namespace tb::cli {

/// Reads at most 64 MiB and parses. Throws "file_not_found", "manifest_malformed", "manifest_too_large".
asset::Manifest read_manifest_file(const std::string& path);

struct ManifestFlags {
  std::string manifest;  ///< empty: beside the ciphertext
  bool no_manifest = false;
  bool allow_unauthenticated = false;
  std::string asset_id;      ///< empty: whichever the manifest names
  std::string provider_key;  ///< file with the pinned public key; empty: none
};

struct LoadedManifest {
  asset::Manifest manifest;
  asset::Authenticity proof;
};

/// `manifest` as the flags want it proven. Throws what asset::authenticate throws. `key` may be null.
LoadedManifest authenticated(asset::Manifest manifest, const ManifestFlags& flags, const FileKey* key);

/// Nothing with --no-manifest; throws "usage" if that is given together with what needs one. `key` may be null.
/// Throws what read_manifest_file and asset::authenticate throw; a missing manifest gets a hint.
std::optional<LoadedManifest> load_manifest(const ManifestFlags& flags, const std::string& ciphertext,
                                            const FileKey* key);

/// What decryption must find true, from an authenticated (or deliberately accepted) manifest.
tbenc::Known known_from(const std::optional<LoadedManifest>& loaded);

}  // namespace tb::cli
