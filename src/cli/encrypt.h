// Encrypting an asset: input, key, ciphertext and manifest in one pass, all of it or nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "asset/manifest.h"
#include "cli/console.h"
#include "cli/oms.h"

namespace tb::cli {

struct EncryptOptions {
  std::string in;  ///< file or model directory
  std::string asset_id;
  std::string out = "model.tbenc";  ///< file, or a directory that exists
  std::string manifest;             ///< empty: beside the ciphertext
  std::string key_file;             ///< empty: <out>.key
  std::string sign_key;             ///< empty: unsigned
  OmsSignFlags oms;
  std::uint32_t chunk_bytes = tbenc::kDefaultChunkBytes;
  unsigned jobs = 0;  ///< 0: all cores
  std::optional<std::int64_t> version;
  bool allow_pickle = false;
  bool plaintext_hashes = false;
  bool allow_finetune = true;
  bool force = false;
};

struct EncryptedAsset {
  std::string ciphertext, manifest_file, key_file;
  std::string oms_bundle;  ///< empty: none was asked for
  bool key_is_new = false;
  std::size_t files = 1;
  asset::Manifest manifest;
};

/// Outputs appear under their names only when everything has succeeded: the key first, the ciphertext last. An existing
/// key file is claimed before the first byte is sealed, and stays claimed if the encryption fails. Throws "usage",
/// "pickle_refused", "output_is_input", "output_exists", "key_already_used", "disk_full", "cancelled", and the errors
/// of OmsSigning, PackSource and tbenc::encrypt.
EncryptedAsset encrypt_asset(const EncryptOptions& options, const Console& console);

}  // namespace tb::cli
