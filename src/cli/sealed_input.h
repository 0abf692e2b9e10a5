// The asset that a mount shows: ciphertext in a file, or behind a URL that answers byte ranges.
#pragma once

#include <memory>
#include <string>

#include "asset/chunk_source.h"
#include "cli/console.h"
#include "cli/manifest_file.h"
#include "cli/settings.h"

namespace tb::cli {

struct SealedInputOptions {
  std::string in;           ///< a file or an https URL without a query; empty if url_file is given
  std::string in_url_file;  ///< 0600 file with a URL, signed ones too: a command line is everybody's to read
  ManifestFlags manifest;   ///< a URL's stands beside it, where none is named
  SettingFlags network;     ///< CA and the permission for plain http
};

struct SealedInput {
  LoadedManifest manifest;
  std::shared_ptr<asset::ChunkSource> chunks;
};

/// Opens it. A file whose manifest has no mac is hashed first; behind a URL, a mac is required. What is fetched is not
/// kept. Throws "usage"; "mac_missing", "ciphertext_digest_mismatch"; "url_refused"; "cancelled"; the errors of
/// load_manifest, SealedChunks::open and Hydration::prepare.
SealedInput open_sealed_input(const SealedInputOptions& options, const FileKey& key, const Console& console);

}  // namespace tb::cli
