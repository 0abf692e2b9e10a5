// Registering an asset: the control plane learns where the blobs are, what they are, and the key, sealed to itself.
#pragma once

#include <string>
#include <string_view>

#include "cli/control_plane.h"
#include "cli/settings.h"
#include "jose/p256.h"

namespace tb::cli {

struct RegisterOptions {
  std::string asset_id;  ///< empty: as the manifest says
  std::string manifest;
  std::string key_file;  ///< or "-" for standard input
  std::string key_hex;   ///< kept form; exclusive with key_file
  // Where the blobs lie: exactly one of blob_url, storage_account and store_cp.
  std::string blob_url;      ///< of the ciphertext
  std::string manifest_url;  ///< empty: `model.manifest.json` beside the ciphertext
  std::string
      storage_account;  ///< Azure's: `<container>/<prefix>/<asset_id>/…` at its endpoint, as the control plane signs
  std::string container = "models";
  std::string prefix;
  std::string endpoint;   ///< with "{account}"; empty: Azure's public cloud
  bool store_cp = false;  ///< the blobs were uploaded with --store cp:
};

struct WrappingKey {
  jose::PublicKey key;
  std::string tenant;  ///< of the token that asked; the sealed key is bound to it
};

/// The control plane's wrapping key from the JWS that it publishes, verified with the pinned identity key. Throws
/// what jose::verify and PublicKey::from_jwk throw, "answer_malformed" if no key is there.
WrappingKey wrapping_key(std::string_view jws, const Ed25519PublicKey& identity);

/// `https://host/a/model.manifest.json` for `https://host/a/model.tbenc?…`; throws "usage" if that cannot be told.
std::string manifest_url_beside(const std::string& blob_url);

/// The manifest is proven by the key before anything is sent. With a pinned control plane key the asset key travels
/// sealed to its wrapping key; without, in the kept form, which TLS alone protects: that is warned of. Gives the
/// control plane's view of the asset. Throws "usage", the errors of asset::authenticate and of ControlPlane.
Json register_asset(const RegisterOptions& options, const Settings& settings, const Console& console);

}  // namespace tb::cli
