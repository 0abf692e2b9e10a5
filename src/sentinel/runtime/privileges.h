// Rights and limits that a process gives up for good, in the order in which that works. For processes that have one
// thread.
#pragma once

#include <sys/types.h>

#include "sentinel/runtime/isolation.h"

namespace tb::sentinel::runtime {

/// No core dumps, descriptors, processes and memory as the plan says, first to be killed when memory runs out.
void apply_limits(const ConfinePlan& plan);
/// Nothing that is executed from now on can get a capability. Does what our rights allow: without CAP_SETPCAP nothing.
void drop_bounding_set();
/// Becomes the plan's user, without other groups than its devices'. Needs CAP_SETUID and CAP_SETGID.
void become_user(const ConfinePlan& plan);
/// Empty capability sets, and no new privileges.
void drop_capabilities();

}  // namespace tb::sentinel::runtime
