// Plaintext may stand in memory only: where, and whether memory can reach a disk.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace tb::deliver {

/// `path` (or, where it does not exist yet, its nearest existing parent) must lie on tmpfs or ramfs, by statfs:
/// "plaintext_on_disk" otherwise. Kubernetes `medium: Memory` is not everywhere what it says, so the name of a path
/// proves nothing.
Result<> require_memory(const std::string& path);

/// "swap_enabled" if `proc_swaps`, the text of /proc/swaps, names a device. Pure.
Result<> require_no_swap(std::string_view proc_swaps);
/// The same of this machine.
Result<> require_no_swap();

/// No core dumps (RLIMIT_CORE 0, inherited) and not ptraceable by the same user (PR_SET_DUMPABLE 0, this program only).
Result<> forbid_core_dumps();

}  // namespace tb::deliver
