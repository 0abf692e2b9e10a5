// Which system calls a confined runtime may make: all that this version knows, but those that trace, mount, load, spy
// or open a family of sockets that is not confined by a network namespace. docs/isolation.md says why for each.
#pragma once

#include <span>
#include <string_view>

namespace tb::sentinel::runtime {

/// Answered with EPERM.
std::span<const std::string_view> refused_calls();

/// Puts the filter on this thread and on what it starts, for good; needs no-new-privileges. Throws "runtime_failed".
/// Without `own_network` UDP is refused, too: there is no namespace to hold it.
void apply_seccomp_filter(bool own_network);

}  // namespace tb::sentinel::runtime
