// The two files that keep an asset's ciphertext in TB_TARGET_DIR from one run to the next: `<name>.ciphertext`, laid
// out as the asset itself, and `<name>.journal` (journal.h), where <name> is the start of the manifest's SHA-256.
//
// One process has them at a time, by a lock on the journal that the kernel takes back however the process ends. Files
// of other manifests that nobody has locked are yesterday's versions: they go when room is needed, and only then.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/crypto.h"
#include "base/fs.h"
#include "base/result.h"
#include "tbenc/layout.h"

namespace tb::hydrate {

struct CacheFiles {
  Fd ciphertext;
  Fd journal;                 ///< locked; none if another process has the files of this manifest: these have no name
  std::vector<bool> present;  ///< what the journal says; one bit a record
};

/// Of the first of them, for the manifest of this hex digest.
std::string ciphertext_file_name(std::string_view manifest_sha256);

/// Opens the files of this manifest in `directory` (made 0700 if it is not there), or makes them with all their space
/// reserved. A journal or file that is not what it should be is made anew. Errors: "path_unsafe" for a directory that
/// others own or may write; "disk_full" before a byte is written, with what is missing; those of open(2).
Result<CacheFiles> open_cache_files(const std::string& directory, const Digest& manifest_sha256,
                                    const tbenc::Layout& layout);

}  // namespace tb::hydrate
