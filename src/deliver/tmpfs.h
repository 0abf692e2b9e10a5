// Delivery as files in memory: one file (`content.kind` file, or none) or a directory (tar) under TB_MODEL_DIR.
//
// Built under a hidden name (`.hydrating-<random>`), chunks written in parallel straight to their place in the files;
// when complete, checked against the index, given to the runtime's user, made read-only and renamed to its final name
// in one step. Bytes of the stream that belong to no file (tar headers, padding) are kept aside and must be exactly
// what the index makes of them.
//
// With `own_mount` a tmpfs of our own covers the directory while a model is there: huge pages where the kernel has them
// (first writes are several times faster), `noswap` where it takes that, and nothing of anybody else's inside. Where it
// cannot be mounted, or something else is mounted there already, the directory is used as it is, if it is memory.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "deliver/delivery.h"
#include "deliver/kernel.h"

namespace tb::deliver {

struct TmpfsOptions {
  std::string model_dir;    ///< TB_MODEL_DIR, made 0711 if it is not there; must be memory (guard.h)
  uid_t runtime_uid = 0;    ///< owner of what is delivered: files 0400, directories 0500
  bool allow_swap = false;  ///< TB_ALLOW_SWAP
  /// Mount a tmpfs of our own. Only where the runtime will see it: it is our child, or model_dir lies on shared
  /// propagation (mount_table.h).
  bool own_mount = false;
  std::optional<Kernel> kernel = std::nullopt;  ///< probed if not given
};

/// Guards the place, then removes leftovers of ours, a mount too. Throws Error: "plaintext_on_disk", "path_unsafe";
/// "swap_enabled" unless swap is allowed, or the mount is our own and never swaps and this process could lock its
/// memory. begin() fails with "memory_short" if the asset does not fit.
std::unique_ptr<Delivery> make_tmpfs(TmpfsOptions options);

}  // namespace tb::deliver
