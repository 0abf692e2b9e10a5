// Decrypting an asset to a file, a directory or a stream.
#pragma once

#include <cstdint>
#include <string>

#include "cli/console.h"
#include "cli/manifest_file.h"

namespace tb::cli {

struct DecryptOptions {
  std::string in;        ///< ciphertext, or "-" for standard input
  std::string key_file;  ///< or "-" for standard input
  std::string out;       ///< file, directory to make, or "-" for standard output
  ManifestFlags manifest;
  unsigned jobs = 0;  ///< 0: all cores
  bool raw = false;   ///< the tar stream of a directory instead of its files
  bool force = false;
};

struct DecryptedAsset {
  std::string out;
  std::string asset_id;  ///< empty without a manifest
  std::uint64_t plaintext_bytes = 0;
  bool end_authenticated = false;
  bool manifest_authenticated = false;
};

/// A file or directory appears under its name only when the last byte has verified. To a stream every chunk goes as
/// soon as its tag has verified, so a failure there shows in the exit status. Without a mac, the SHA-256 of the
/// ciphertext is verified before anything is released. Throws "usage", "output_exists", "output_is_input", "disk_full",
/// "ciphertext_digest_mismatch", "cancelled", and the errors of load_manifest, tbenc::decrypt and asset::Unpacker.
DecryptedAsset decrypt_asset(const DecryptOptions& options, const Console& console);

}  // namespace tb::cli
