// Landlock: what a process may do with which files, held by itself and all that it starts, for good. By raw system
// calls: the C library has none. What an older kernel does not know of is left out; the version says what that is.
#pragma once

#include <string>
#include <vector>

namespace tb::sentinel::runtime {

/// 0: this kernel has none.
int landlock_abi();

struct LandlockRules {
  int abi = 0;
  std::vector<std::string> read;     ///< read, list and execute below it
  std::vector<std::string> write;    ///< also write, make and remove below it, but no device nodes
  std::vector<std::string> devices;  ///< read, write and control this file
  std::string sockets;               ///< make and remove sockets below it; empty: none
  bool confine_tcp = false;          ///< no outgoing TCP, listening on `port` alone; needs version 4
  unsigned port = 0;
};

/// Paths that are not there are passed over: nothing can be done below them. Needs no-new-privileges. Throws
/// "runtime_failed".
void apply_landlock(const LandlockRules& rules);

}  // namespace tb::sentinel::runtime
