// Who else can reach a runtime that somebody else started: looked at from outside, by where its port listens in this
// network namespace and by the modes of its socket.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "obs/finding.h"
#include "sentinel/config.h"

namespace tb::sentinel::runtime {

/// The addresses on which somebody listens on `port`, as text, out of the kernel's tables /proc/net/tcp and tcp6. Lines
/// that have another shape are passed over.
std::vector<std::string> listening_addresses(const std::string& tcp_table, const std::string& tcp6_table,
                                             std::uint16_t port);

/// A fault where other machines can reach it past the sentinel, a warning where other users of this one can or where
/// nothing can be said.
obs::Finding examine_reach(const RuntimeAddress& address);

}  // namespace tb::sentinel::runtime
