// Bringing ciphertext and manifest to where sentinels fetch them: a directory (`file:DIR`), or the control plane's
// embedded store (`cp:`).
#pragma once

#include <cstdint>
#include <string>

#include "cli/console.h"
#include "cli/settings.h"

namespace tb::cli {

struct UploadOptions {
  std::string asset_id;  ///< empty: as the manifest says
  std::string ciphertext;
  std::string manifest;  ///< empty: beside the ciphertext
  std::string store;     ///< "file:DIR" or "cp:"
  bool force = false;    ///< file: only; the embedded store never replaces
};

struct Uploaded {
  std::string asset_id;
  std::string ciphertext_url, manifest_url;  ///< `file:///…`, or `store:<asset_id>/…`
  std::uint64_t ciphertext_bytes = 0;
  std::uint64_t sent_bytes = 0;  ///< fewer than there are if an earlier upload was resumed
};

/// The ciphertext's size, header and, on the way, SHA-256 must be what the manifest says: another file is refused
/// before it can be registered. Blobs are `models/<asset_id>/model.tbenc` and `…/model.manifest.json` in a directory.
/// Throws "usage", "asset_mismatch", "ciphertext_digest_mismatch", "output_exists", "disk_full", "cancelled", and the
/// errors of ControlPlane.
Uploaded upload_asset(const UploadOptions& options, const SettingFlags& settings, const Console& console);

}  // namespace tb::cli
