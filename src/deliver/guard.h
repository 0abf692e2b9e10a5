// Plaintext may stand in memory only: where, and whether memory can reach a disk.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "deliver/kernel.h"

namespace tb::deliver {

/// `path` (or, where it does not exist yet, its nearest existing parent) must lie on tmpfs or ramfs, by statfs:
/// "plaintext_on_disk" otherwise. Kubernetes `medium: Memory` is not everywhere what it says, so the name of a path
/// proves nothing.
Result<> require_memory(const std::string& path);

/// `path` is the top of a FUSE file system of ours, mounted with the source `source`: its bytes come from this
/// program's memory. Any other FUSE may keep them anywhere: "plaintext_on_disk".
Result<> require_own_fuse(const std::string& path, std::string_view source);

/// Swap must be off: "swap_enabled" names the device.
Result<> require_no_swap(const Kernel& kernel);
/// For plaintext in a tmpfs that never swaps: swap must be off, or everything of this process is locked into memory
/// from here on, what it has and what it will take (keys, buffers, stacks). "swap_enabled" where it may not.
Result<> require_unswappable(const Kernel& kernel);

/// No core dumps (RLIMIT_CORE 0, inherited) and not ptraceable by the same user (PR_SET_DUMPABLE 0, this program only).
Result<> forbid_core_dumps();

}  // namespace tb::deliver
