// The file tree of a confined runtime, made in its own mount namespace: an empty root in memory with the named parts of
// the system bound in read-only, a /proc and /sys of its own namespaces, a /dev of harmless nodes, and one scratch of
// limited size behind everything that can be written. What is not named is not there.
#pragma once

#include <string>

#include "sentinel/runtime/isolation.h"

namespace tb::sentinel::runtime {

inline constexpr const char* kRuntimeHome = "/home/runtime";

/// Directories that the runtime may write; the socket directory is not among them.
inline constexpr const char* kWritableDirectories[] = {"/tmp", "/dev/shm", kRuntimeHome};
inline constexpr const char* kHarmlessDevices[] = {"/dev/null",   "/dev/zero",    "/dev/full",
                                                   "/dev/random", "/dev/urandom", "/dev/tty"};

/// Makes it and moves into it: afterwards nothing of the tree before can be reached. Needs CAP_SYS_ADMIN over the mount
/// namespace; single-threaded. Throws "runtime_failed" that names the path.
void enter_confined_root(const ConfinePlan& plan);

}  // namespace tb::sentinel::runtime
