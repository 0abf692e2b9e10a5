// Delivery as files in memory: one file (`content.kind` file, or none) or a directory (tar) under TB_MODEL_DIR.
//
// Built under a hidden name (`.hydrating-<random>`), chunks written in parallel straight to their place in the files;
// when complete, checked against the index, given to the runtime's user, made read-only and renamed to its final name
// in one step. Bytes of the stream that belong to no file (tar headers, padding) are kept aside and must be exactly
// what the index makes of them.
#pragma once

#include <memory>
#include <string>

#include "deliver/delivery.h"

namespace tb::deliver {

struct TmpfsOptions {
  std::string model_dir;    ///< TB_MODEL_DIR, made 0711 if it is not there; must be memory (guard.h)
  uid_t runtime_uid = 0;    ///< owner of what is delivered: files 0400, directories 0500
  bool allow_swap = false;  ///< TB_ALLOW_SWAP
};

/// Guards the place, then removes leftovers of ours. Throws Error: "plaintext_on_disk", "swap_enabled", "path_unsafe".
/// begin() fails with "memory_short" if the asset does not fit.
std::unique_ptr<Delivery> make_tmpfs(TmpfsOptions options);

}  // namespace tb::deliver
