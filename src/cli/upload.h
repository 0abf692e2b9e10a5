// Bringing ciphertext and manifest of an asset on this disk to where sentinels fetch them.
#pragma once

#include <string>

#include "cli/asset_store.h"

namespace tb::cli {

struct UploadOptions {
  std::string asset_id;  ///< empty: as the manifest says
  std::string ciphertext;
  std::string manifest;  ///< empty: beside the ciphertext
  StoreFlags store;
};

/// The ciphertext's size, header and, on the way, SHA-256 must be what the manifest says: another file is refused
/// before it can be registered. Throws "usage", "asset_mismatch", "ciphertext_digest_mismatch", "source_changed",
/// "blob_conflict", "output_exists", "disk_full", "cancelled", and the errors of the store.
Uploaded upload_asset(const UploadOptions& options, const SettingFlags& settings, const Console& console);

}  // namespace tb::cli
