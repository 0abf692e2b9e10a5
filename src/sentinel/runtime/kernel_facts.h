// What this machine can do of isolation.h's measures, found out by doing: each namespace is made once, with what is
// mounted in it, by a process that ends at once.
#pragma once

#include "sentinel/runtime/isolation.h"

namespace tb::sentinel::runtime {

/// For a runtime of `runtime_uid`. Takes some milliseconds. `make_room`: for control groups (resource_group.h), which
/// moves this process.
KernelFacts find_kernel_facts(uid_t runtime_uid, bool make_room = false);

}  // namespace tb::sentinel::runtime
