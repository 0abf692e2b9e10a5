#include "cli/manifest_file.h"

#include <fmt/format.h>

#include "base/fs.h"
#include "cli/key_file.h"
#include "cli/paths.h"

namespace tb::cli {

asset::Manifest read_manifest_file(const std::string& path) {
  const std::string text = value_or_throw(read_small_file(path, asset::kMaxManifestBytes));
  Result<asset::Manifest> manifest = asset::Manifest::parse(text);
  if (!manifest) {
    manifest.error().message = fmt::format("{}: {}", path, manifest.error().message);
    throw std::move(manifest.error());
  }
  return std::move(*manifest);
}

LoadedManifest authenticated(asset::Manifest manifest, const ManifestFlags& flags, const FileKey* key) {
  asset::Expectation expected;
  expected.key = key;
  if (!flags.asset_id.empty()) expected.asset_id = flags.asset_id;
  if (!flags.provider_key.empty()) expected.provider_key = read_public_key(flags.provider_key);
  expected.allow_unauthenticated = flags.allow_unauthenticated;
  const asset::Authenticity proof = value_or_throw(asset::authenticate(manifest, expected));
  return {std::move(manifest), proof};
}

std::optional<LoadedManifest> load_manifest(const ManifestFlags& flags, const std::string& ciphertext,
                                            const FileKey* key) {
  if (flags.no_manifest) {
    if (!flags.manifest.empty() || !flags.asset_id.empty() || !flags.provider_key.empty()) {
      throw Error("usage", "--no-manifest contradicts --manifest, --asset-id and --provider-key");
    }
    return std::nullopt;
  }
  if (flags.manifest.empty() && ciphertext == "-") {
    throw Error("usage", "a ciphertext from standard input needs --manifest or --no-manifest");
  }
  const std::string path = flags.manifest.empty() ? manifest_path_of(ciphertext) : flags.manifest;
  if (!exists(path)) {
    throw Error("file_not_found", fmt::format("there is no manifest {}", path))
        .with_hint("name it with --manifest, or say --no-manifest and do without its proofs");
  }
  return authenticated(read_manifest_file(path), flags, key);
}

tbenc::Known known_from(const std::optional<LoadedManifest>& loaded) {
  tbenc::Known known;
  if (!loaded) return known;
  known.plaintext_bytes = loaded->manifest.plaintext_bytes();
  known.chunk_bytes = loaded->manifest.chunk_bytes();
  known.nonce_prefix = loaded->manifest.nonce_prefix();
  return known;
}

}  // namespace tb::cli
