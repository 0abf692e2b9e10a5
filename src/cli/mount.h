// Mounting an asset: a read-only view of what it was, decrypted as it is read.
#pragma once

#include <functional>
#include <string>

#include "cli/console.h"
#include "cli/sealed_input.h"

namespace tb::cli {

struct MountOptions {
  SealedInputOptions input;
  std::string key_file;   ///< or "-" for standard input
  std::string directory;  ///< made if it is not there, else ours and empty
};

struct MountedAsset {
  std::string directory;  ///< where it is mounted
  std::string asset_id;
  std::uint64_t plaintext_bytes = 0;
  bool manifest_authenticated = false;
};

/// Mounts, calls `mounted`, and serves until SIGINT, SIGTERM or until somebody unmounts it; then unmounts it, whoever
/// has files open. Each chunk is verified when it is
/// read, and one that is tampered with is an I/O error to its reader; the first such is thrown at the end, so that the
/// exit status says it. Throws "path_unsafe", "mount_refused", "cancelled" (before it was
/// mounted), and the errors of open_sealed_input and its chunks.
void mount_asset(const MountOptions& options, const Console& console,
                 const std::function<void(const MountedAsset&)>& mounted);

}  // namespace tb::cli
